"""Accounts over HTTP."""

from typing import Annotated

from django.http import HttpResponse

from duely.accounts import actions
from duely.accounts.access import require_management, session_for, user_for
from duely.accounts.actions import Grant
from duely.accounts.auth import BY_REFRESH_TOKEN
from duely.accounts.models import User as UserRow
from duely.accounts.queries import own_sessions, visible_users
from duely.accounts.rules import PROFILE_DEFAULTS
from duely.accounts.schemas import (
    SESSIONS,
    USERS,
    Address,
    LinkToken,
    LogIn,
    Message,
    NewAddress,
    PasswordChange,
    PasswordReset,
    Profile,
    ProfileIn,
    Refresh,
    ResetGrant,
    SentCode,
    SessionPage,
    SessionPath,
    SignUp,
    TokenPair,
    User,
    UserPage,
    UserPatch,
    UserPath,
    show_profile,
    show_user,
)
from duely.api.components import Body, Listed, Path
from duely.api.lists import ListQuery
from duely.api.operations import operation
from duely.api.resource import Resource
from duely.api.types import given
from duely.core import clock
from duely.core.errors import AlreadyExists, NotFound
from duely.core.permissions import Permission, require


class Auth(Resource):
    """Signing up, in and out."""

    tags = ("auth",)

    def show_pair(self, grant: Grant) -> HttpResponse:
        """A pair of tokens."""
        return self.show(TokenPair(grant.access, grant.refresh, "Bearer", grant.expires_in))

    def say(self, message: str) -> HttpResponse:
        """A sentence."""
        return self.show(Message(message))


class SignUps(Auth):
    """Sign-up."""

    @operation(User, name="signUp", status=201, refuses=[actions.SignupDisabled, AlreadyExists], public=True)
    def post(self, parsed_body: Body[SignUp]) -> HttpResponse:
        """Create an account."""
        user = actions.sign_up(actor=self.actor, **given(parsed_body), now=clock.now())
        return self.show(show_user(user), 201)


class LogIns(Auth):
    """Sign-in with a password."""

    @operation(
        TokenPair,
        name="logIn",
        refuses=[actions.InvalidCredentials, actions.EmailNotVerified],
        public=True,
        limit="login",
    )
    def post(self, parsed_body: Body[LogIn]) -> HttpResponse:
        """Sign in with a user name or an e-mail address."""
        grant = actions.sign_in(
            actor=self.actor, login=parsed_body.login, password=parsed_body.password, now=clock.now()
        )
        return self.show_pair(grant)


class CodeRequests(Auth):
    """Sign-in codes."""

    @operation(Message, name="requestCode", public=True, limit="otp")
    def post(self, parsed_body: Body[Address]) -> HttpResponse:
        """Send a sign-in code by e-mail. The answer does not reveal whether an account exists."""
        actions.request_sign_in_code(actor=self.actor, **given(parsed_body), now=clock.now())
        return self.say("OTP sent successfully")


class CodeLogIns(Auth):
    """Sign-in with a code."""

    @operation(TokenPair, name="logInWithCode", refuses=[actions.InvalidCode], public=True, limit="login")
    def post(self, parsed_body: Body[SentCode]) -> HttpResponse:
        """Sign in with a code from an e-mail. The first sign-in creates the account."""
        return self.show_pair(actions.sign_in_with_code(actor=self.actor, **given(parsed_body), now=clock.now()))


class Verifications(Auth):
    """Verification of e-mail addresses."""

    @operation(
        Message,
        name="verifyEmail",
        refuses=[actions.InvalidToken, AlreadyExists],
        public=True,
        takes_token=True,
        limit="login",
    )
    def post(self, parsed_body: Body[LinkToken]) -> HttpResponse:
        """Use the token of a link in an e-mail: verify an address, change an address, or finish sign-up.

        Also send the account's `password`, or one of its access tokens. Without either, all its sessions end and its
        password stops working, because someone else may have signed up with this address.
        """
        user = actions.verify_email(actor=self.actor, **given(parsed_body), now=clock.now())
        lost = (
            ""
            if user.has_usable_password()
            else " The account has no password now: sign in with a code, or set a new password."
        )
        return self.say(f"The e-mail address is verified.{lost}")


class VerificationRequests(Auth):
    """Verification links."""

    @operation(Message, name="resendVerification")
    def post(self) -> HttpResponse:
        """Send a new verification link to your address, unless it is verified."""
        user = user_for(self.actor, self.actor.user_id)
        actions.request_verification(actor=self.actor, user=user, now=clock.now())
        return self.say("If your address is not verified, a link has been sent to it.")


class EmailChanges(Auth):
    """Change of the e-mail address."""

    def _prepare(self, parsed_body: NewAddress) -> UserRow:
        user = user_for(self.actor, self.actor.user_id)
        password = parsed_body.current_password
        return actions.confirm_email_change(actor=self.actor, user=user, current_password=password, now=clock.now())

    @operation(Message, name="changeEmail", prepare=_prepare)
    def post(self, parsed_body: Body[NewAddress], prepared: UserRow) -> HttpResponse:
        """Change your e-mail address. The change takes effect when the link sent to the new address is followed."""
        email = given(parsed_body)["email"]
        actions.request_email_change(actor=self.actor, confirmed=prepared, email=email, now=clock.now())
        return self.say("A link has been sent to the new address.")


class ForgottenPasswords(Auth):
    """Password reset codes."""

    @operation(Message, name="forgotPassword", public=True, limit="reset")
    def post(self, parsed_body: Body[Address]) -> HttpResponse:
        """Send a password reset code by e-mail. The answer does not reveal whether an account exists."""
        actions.request_password_reset(actor=self.actor, **given(parsed_body), now=clock.now())
        return self.say("If an account with this address exists, a code has been sent.")


class ResetCodes(Auth):
    """Password reset tokens."""

    @operation(ResetGrant, name="verifyResetCode", refuses=[actions.InvalidCode], public=True, limit="login")
    def post(self, parsed_body: Body[SentCode]) -> HttpResponse:
        """Exchange a password reset code for a token that sets a new password."""
        token = actions.exchange_reset_code(actor=self.actor, **given(parsed_body), now=clock.now())
        return self.show(ResetGrant(token))


class PasswordResets(Auth):
    """Password reset."""

    @operation(
        Message,
        name="resetPassword",
        refuses=[actions.InvalidToken, actions.PasswordReused],
        public=True,
        limit="login",
    )
    def post(self, parsed_body: Body[PasswordReset]) -> HttpResponse:
        """Set a new password with a reset token. All your sessions end."""
        actions.reset_password(actor=self.actor, **given(parsed_body), now=clock.now())
        return self.say("The new password is set. Sign in with it.")


class TokenRefresh(Auth):
    """Token refresh."""

    @operation(
        TokenPair,
        name="refreshToken",
        refuses=[actions.InvalidRefreshToken],
        public=True,
        limit=BY_REFRESH_TOKEN,
    )
    def post(self, parsed_body: Body[Refresh]) -> HttpResponse:
        """Exchange a refresh token for a new pair of tokens.

        A refresh token works once. Sending a used one again ends its session.
        """
        return self.show_pair(actions.refresh(actor=self.actor, token=parsed_body.refresh, now=clock.now()))


class LogOuts(Auth):
    """Sign-out."""

    @operation(None, name="logOut", status=204, public=True, limit=BY_REFRESH_TOKEN)
    def post(self, parsed_body: Body[Refresh]) -> HttpResponse:
        """End the session of a refresh token. An unknown token is not an error."""
        actions.sign_out(actor=self.actor, token=parsed_body.refresh, now=clock.now())
        return self.nothing()


class LogOutsEverywhere(Auth):
    """Sign-out from all sessions."""

    @operation(None, name="logOutEverywhere", status=204, asks_permission=False)
    def post(self) -> HttpResponse:
        """End all your sessions, including this one."""
        actions.sign_out_everywhere(actor=self.actor, now=clock.now())
        return self.nothing()


class Sessions(Auth):
    """Your sessions."""

    @operation(SessionPage, name="listSessions", asks_permission=False)
    def get(self, parsed_query: Annotated[ListQuery, Listed(SESSIONS)]) -> HttpResponse:
        """List your sessions."""
        return self.show(SESSIONS.answer(own_sessions(self.actor, clock.now()), parsed_query))


class OneSession(Auth):
    """One session."""

    @operation(None, name="endSession", status=204, refuses=[NotFound])
    def delete(self, parsed_path: Path[SessionPath]) -> HttpResponse:
        """End a session. Its tokens stop working at once."""
        now = clock.now()
        session = session_for(self.actor, parsed_path.session_id, now)
        actions.end_session(actor=self.actor, session=session, now=now)
        return self.nothing()


class PasswordChanges(Auth):
    """Change of the password."""

    def _prepare(self, parsed_body: PasswordChange) -> actions.NewPassword:
        user = user_for(self.actor, self.actor.user_id)
        return actions.prepare_password(actor=self.actor, user=user, **given(parsed_body), now=clock.now())

    @operation(None, name="changePassword", status=204, refuses=[actions.PasswordReused], prepare=_prepare)
    def post(self, parsed_body: Body[PasswordChange], prepared: actions.NewPassword) -> HttpResponse:
        """Change your password. All your other sessions end."""
        actions.change_password(actor=self.actor, new=prepared, now=clock.now())
        return self.nothing()


class Profiles(Resource):
    """Your profile."""

    tags = ("profile",)

    @operation(Profile, name="getProfile")
    def get(self) -> HttpResponse:
        """Get your profile."""
        return self.show(show_profile(user_for(self.actor, self.actor.user_id)))

    @operation(Profile, name="replaceProfile")
    def put(self, parsed_body: Body[ProfileIn]) -> HttpResponse:
        """Replace your profile. Missing fields get their defaults."""
        return self._update({**PROFILE_DEFAULTS, **given(parsed_body)})

    @operation(Profile, name="updateProfile")
    def patch(self, parsed_body: Body[ProfileIn]) -> HttpResponse:
        """Change some fields of your profile."""
        return self._update(given(parsed_body))

    def _update(self, values: dict[str, object]) -> HttpResponse:
        require(self.actor, Permission.PROFILE_EDIT)
        changed = actions.update_profile(actor=self.actor, values=values, now=clock.now())
        return self.show(show_profile(changed))


class Me(Resource):
    """The signed-in user."""

    tags = ("users",)

    @operation(User, name="getMe")
    def get(self) -> HttpResponse:
        """Get the signed-in user."""
        return self.show(show_user(user_for(self.actor, self.actor.user_id)))


class Users(Resource):
    """User accounts."""

    tags = ("users",)

    @operation(UserPage, name="listUsers")
    def get(self, parsed_query: Annotated[ListQuery, Listed(USERS)]) -> HttpResponse:
        """List users. For admins."""
        require(self.actor, Permission.USER_LIST)
        return self.show(USERS.answer(visible_users(self.actor), parsed_query))


class OneUser(Resource):
    """One user."""

    tags = ("users",)

    @operation(User, name="getUser", refuses=[NotFound])
    def get(self, parsed_path: Path[UserPath]) -> HttpResponse:
        """Get a user. Admins see every user, others only themselves."""
        return self.show(show_user(user_for(self.actor, parsed_path.user_id)))

    @operation(User, name="updateUser", refuses=[NotFound, actions.LastAdmin])
    def patch(self, parsed_path: Path[UserPath], parsed_body: Body[UserPatch]) -> HttpResponse:
        """Change a user's role, or deactivate or reactivate the user. For admins."""
        require_management(self.actor, parsed_path.user_id)
        wanted = given(parsed_body)
        changed = actions.change_user(actor=self.actor, user_id=parsed_path.user_id, **wanted, now=clock.now())
        return self.show(show_user(changed))


ROUTES: list[tuple[str, type[Resource]]] = [
    ("auth/signup/", SignUps),
    ("auth/login/", LogIns),
    ("auth/request-otp/", CodeRequests),
    ("auth/verify-otp/", CodeLogIns),
    ("auth/verify-email/", Verifications),
    ("auth/resend-verification/", VerificationRequests),
    ("auth/change-email/", EmailChanges),
    ("auth/forgot-password/", ForgottenPasswords),
    ("auth/verify-reset-otp/", ResetCodes),
    ("auth/reset-password/", PasswordResets),
    ("auth/token/refresh/", TokenRefresh),
    ("auth/logout/", LogOuts),
    ("auth/logout-all/", LogOutsEverywhere),
    ("auth/sessions/", Sessions),
    ("auth/sessions/<id:session_id>/", OneSession),
    ("auth/change-password/", PasswordChanges),
    ("profile/", Profiles),
    ("users/me/", Me),
    ("users/", Users),
    ("users/<id:user_id>/", OneUser),
]

ALIASES: list[tuple[str, str]] = [
    ("register/", "auth/signup/"),
    ("auth/register/", "auth/signup/"),
    ("token/", "auth/login/"),
    ("token/refresh/", "auth/token/refresh/"),
    ("auth/refresh/", "auth/token/refresh/"),
    ("auth/forget-password/", "auth/forgot-password/"),
]
