"""What people can do with accounts: sign up, sign in and out, prove and change addresses, passwords, profiles, roles.

Locks are taken in one order everywhere: user rows by id, sign-ups, new user rows, codes and tokens, each by id, then
sessions, then the change log's counter, which `record` locks. A guess locks codes alone, in a transaction of its own. A
user's row is locked without its key, so that inserts which refer to it need not wait.
"""

from duely.accounts.actions.codes import (
    InvalidCode,
    request_password_reset,
    request_sign_in_code,
    sign_in_with_code,
)
from duely.accounts.actions.emails import (
    InvalidToken,
    confirm_email_change,
    request_email_change,
    request_verification,
    verify_email,
)
from duely.accounts.actions.mailboxes import note_mail_limit
from duely.accounts.actions.passwords import (
    NewPassword,
    PasswordReused,
    change_password,
    exchange_reset_code,
    prepare_password,
    reset_password,
    set_password,
)
from duely.accounts.actions.sessions import (
    EmailNotVerified,
    Grant,
    InvalidCredentials,
    InvalidRefreshToken,
    check_credentials,
    end_session,
    end_sessions_of,
    purge_sessions,
    refresh,
    sign_in,
    sign_in_to_admin,
    sign_out,
    sign_out_everywhere,
)
from duely.accounts.actions.users import (
    LastAdmin,
    SignupDisabled,
    change_user,
    create_admin,
    create_user,
    sign_up,
    update_profile,
)

__all__ = [
    "EmailNotVerified",
    "Grant",
    "InvalidCode",
    "InvalidCredentials",
    "InvalidRefreshToken",
    "InvalidToken",
    "LastAdmin",
    "NewPassword",
    "PasswordReused",
    "SignupDisabled",
    "change_password",
    "change_user",
    "check_credentials",
    "confirm_email_change",
    "create_admin",
    "create_user",
    "end_session",
    "end_sessions_of",
    "exchange_reset_code",
    "note_mail_limit",
    "prepare_password",
    "purge_sessions",
    "refresh",
    "request_email_change",
    "request_password_reset",
    "request_sign_in_code",
    "request_verification",
    "reset_password",
    "set_password",
    "sign_in",
    "sign_in_to_admin",
    "sign_in_with_code",
    "sign_out",
    "sign_out_everywhere",
    "sign_up",
    "update_profile",
    "verify_email",
]
