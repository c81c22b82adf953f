"""What people can do with accounts: sign up, sign in and out, change passwords, profiles and roles.

Locks are taken in one order everywhere: user rows by id, then sessions, then the change log's counter, which
`record` locks. A user's row is locked without its key, so that inserts which refer to it need not wait.
"""

from duely.accounts.actions.passwords import PasswordReused, change_password
from duely.accounts.actions.sessions import (
    Grant,
    InvalidCredentials,
    InvalidRefreshToken,
    check_credentials,
    end_session,
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
    "Grant",
    "InvalidCredentials",
    "InvalidRefreshToken",
    "LastAdmin",
    "PasswordReused",
    "SignupDisabled",
    "change_password",
    "change_user",
    "check_credentials",
    "create_admin",
    "create_user",
    "end_session",
    "purge_sessions",
    "refresh",
    "sign_in",
    "sign_in_to_admin",
    "sign_out",
    "sign_out_everywhere",
    "sign_up",
    "update_profile",
]
