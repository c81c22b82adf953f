"""Who may do what: the one table of operations, callers and ids. `test_permissions.py` holds the product against it.

Each line: an operation, the ids in the request, and the status that each caller gets.

Callers. `nobody` sends no token, `gone` that of a deactivated user, `ended` that of a session of Alice's that is over,
`bad` one that we did not sign. The others are signed in: `stranger` is a member who has nothing to do with Alice,
`intern` an intern, `owner` is Alice herself, `admin` an admin.

Ids. `path`, `body` and `query` say where the id is; `own` is the caller's own thing, `alice` Alice's (so a foreign one
for all but the owner), `none` the id of nothing. Operations without an id have `-`.
"""

from dataclasses import dataclass

CALLERS = ("nobody", "gone", "ended", "bad", "stranger", "intern", "owner", "admin")

API = """
                                           | nobody | gone | ended | bad | stranger | intern | owner | admin
POST   auth/signup/                        |    201 |  201 |   201 | 201 |      201 |    201 |   201 |   201 | -
POST   auth/login/                         |    200 |  200 |   200 | 200 |      200 |    200 |   200 |   200 | -
POST   auth/request-otp/                   |    200 |  200 |   200 | 200 |      200 |    200 |   200 |   200 | -
POST   auth/verify-otp/                    |    200 |  200 |   200 | 200 |      200 |    200 |   200 |   200 | -
POST   auth/verify-email/                  |    200 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | -
POST   auth/forgot-password/               |    200 |  200 |   200 | 200 |      200 |    200 |   200 |   200 | -
POST   auth/verify-reset-otp/              |    200 |  200 |   200 | 200 |      200 |    200 |   200 |   200 | -
POST   auth/reset-password/                |    200 |  200 |   200 | 200 |      200 |    200 |   200 |   200 | -
POST   auth/resend-verification/           |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | -
POST   auth/change-email/                  |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | -
POST   auth/token/refresh/                 |    200 |  200 |   200 | 200 |      200 |    200 |   200 |   200 | -
POST   auth/logout/                        |    204 |  204 |   204 | 204 |      204 |    204 |   204 |   204 | -
POST   auth/logout-all/                    |    401 |  401 |   401 | 401 |      204 |    204 |   204 |   204 | -
GET    auth/sessions/                      |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | -
DELETE auth/sessions/<id:session_id>/      |    401 |  401 |   401 | 401 |      204 |    204 |   204 |   204 | path=own
DELETE auth/sessions/<id:session_id>/      |    401 |  401 |   401 | 401 |      404 |    404 |   204 |   404 | path=alice
DELETE auth/sessions/<id:session_id>/      |    401 |  401 |   401 | 401 |      404 |    404 |   404 |   404 | path=none
POST   auth/change-password/               |    401 |  401 |   401 | 401 |      204 |    204 |   204 |   204 | -
GET    profile/                            |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | -
PUT    profile/                            |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | -
PATCH  profile/                            |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | -
GET    users/me/                           |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | -
GET    users/                              |    401 |  401 |   401 | 401 |      403 |    403 |   403 |   200 | -
GET    users/<id:user_id>/                 |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | path=own
GET    users/<id:user_id>/                 |    401 |  401 |   401 | 401 |      404 |    404 |   200 |   200 | path=alice
GET    users/<id:user_id>/                 |    401 |  401 |   401 | 401 |      404 |    404 |   404 |   404 | path=none
PATCH  users/<id:user_id>/                 |    401 |  401 |   401 | 401 |      403 |    403 |   403 |   200 | path=own
PATCH  users/<id:user_id>/                 |    401 |  401 |   401 | 401 |      404 |    404 |   403 |   200 | path=alice
PATCH  users/<id:user_id>/                 |    401 |  401 |   401 | 401 |      404 |    404 |   404 |   404 | path=none

GET    tasks/                              |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | -
GET    tasks/                              |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query category=own
GET    tasks/                              |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query category=alice
GET    tasks/                              |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query category=none
GET    tasks/                              |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query category__ne=alice
GET    tasks/                              |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query category__ne=none
GET    tasks/                              |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query owner=own
GET    tasks/                              |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query owner=alice
GET    tasks/                              |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query owner=none
GET    tasks/                              |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query owner__ne=alice
GET    tasks/                              |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query owner__ne=none
POST   tasks/                              |    401 |  401 |   401 | 401 |      201 |    201 |   201 |   201 | -
POST   tasks/                              |    401 |  401 |   401 | 401 |      201 |    201 |   201 |   201 | body category=own
POST   tasks/                              |    401 |  401 |   401 | 401 |      400 |    400 |   201 |   400 | body category=alice
POST   tasks/                              |    401 |  401 |   401 | 401 |      400 |    400 |   400 |   400 | body category=none
POST   tasks/                              |    401 |  401 |   401 | 401 |      201 |    201 |   201 |   201 | body owner=own
POST   tasks/                              |    401 |  401 |   401 | 401 |      403 |    403 |   201 |   201 | body owner=alice
POST   tasks/                              |    401 |  401 |   401 | 401 |      403 |    403 |   403 |   400 | body owner=none
POST   tasks/                              |    401 |  401 |   401 | 401 |      403 |    403 |   201 |   201 | body owner=alice, body category=alice
POST   tasks/                              |    401 |  401 |   401 | 401 |      403 |    403 |   201 |   400 | body owner=alice, body category=own
POST   tasks/                              |    401 |  401 |   401 | 401 |      400 |    400 |   201 |   400 | body owner=own, body category=alice
POST   tasks/                              |    401 |  401 |   401 | 401 |      409 |    409 |   409 |   409 | body id=own
POST   tasks/                              |    401 |  401 |   401 | 401 |      409 |    409 |   409 |   409 | body id=alice
POST   tasks/                              |    401 |  401 |   401 | 401 |      201 |    201 |   201 |   201 | body id=none
GET    tasks/<id:task_id>/                 |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | path=own
GET    tasks/<id:task_id>/                 |    401 |  401 |   401 | 401 |      404 |    404 |   200 |   200 | path=alice
GET    tasks/<id:task_id>/                 |    401 |  401 |   401 | 401 |      404 |    404 |   404 |   404 | path=none
PUT    tasks/<id:task_id>/                 |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | path=own
PUT    tasks/<id:task_id>/                 |    401 |  401 |   401 | 401 |      404 |    404 |   200 |   200 | path=alice
PUT    tasks/<id:task_id>/                 |    401 |  401 |   401 | 401 |      404 |    404 |   404 |   404 | path=none
PUT    tasks/<id:task_id>/                 |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | path=own, body category=own
PUT    tasks/<id:task_id>/                 |    401 |  401 |   401 | 401 |      400 |    400 |   200 |   400 | path=own, body category=alice
PUT    tasks/<id:task_id>/                 |    401 |  401 |   401 | 401 |      400 |    400 |   400 |   400 | path=own, body category=none
PUT    tasks/<id:task_id>/                 |    401 |  401 |   401 | 401 |      404 |    404 |   200 |   400 | path=alice, body category=own
PATCH  tasks/<id:task_id>/                 |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | path=own
PATCH  tasks/<id:task_id>/                 |    401 |  401 |   401 | 401 |      404 |    404 |   200 |   200 | path=alice
PATCH  tasks/<id:task_id>/                 |    401 |  401 |   401 | 401 |      404 |    404 |   404 |   404 | path=none
PATCH  tasks/<id:task_id>/                 |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | path=own, body category=own
PATCH  tasks/<id:task_id>/                 |    401 |  401 |   401 | 401 |      400 |    400 |   200 |   400 | path=own, body category=alice
PATCH  tasks/<id:task_id>/                 |    401 |  401 |   401 | 401 |      400 |    400 |   400 |   400 | path=own, body category=none
PATCH  tasks/<id:task_id>/                 |    401 |  401 |   401 | 401 |      404 |    404 |   200 |   200 | path=alice, body category=alice
PATCH  tasks/<id:task_id>/                 |    401 |  401 |   401 | 401 |      404 |    404 |   200 |   400 | path=alice, body category=own
DELETE tasks/<id:task_id>/                 |    401 |  401 |   401 | 401 |      204 |    204 |   204 |   204 | path=own
DELETE tasks/<id:task_id>/                 |    401 |  401 |   401 | 401 |      404 |    404 |   204 |   204 | path=alice
DELETE tasks/<id:task_id>/                 |    401 |  401 |   401 | 401 |      404 |    404 |   404 |   404 | path=none

DELETE tasks/                              |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | -
GET    tasks/trash/                        |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | -
GET    tasks/trash/                        |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query category=own
GET    tasks/trash/                        |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query category=alice
GET    tasks/trash/                        |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query category=none
GET    tasks/trash/                        |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query category__ne=alice
GET    tasks/trash/                        |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query category__ne=none
GET    tasks/trash/                        |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query owner=own
GET    tasks/trash/                        |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query owner=alice
GET    tasks/trash/                        |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query owner=none
GET    tasks/trash/                        |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query owner__ne=alice
GET    tasks/trash/                        |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query owner__ne=none
DELETE tasks/trash/                        |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | -
POST   tasks/quick/                        |    401 |  401 |   401 | 401 |      201 |    201 |   201 |   201 | -
GET    tasks/stats/                        |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | -
POST   tasks/<id:task_id>/restore/         |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | path=own
POST   tasks/<id:task_id>/restore/         |    401 |  401 |   401 | 401 |      404 |    404 |   200 |   200 | path=alice
POST   tasks/<id:task_id>/restore/         |    401 |  401 |   401 | 401 |      404 |    404 |   404 |   404 | path=none
POST   tasks/bulk/                         |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | -
POST   tasks/bulk/                         |    401 |  401 |   401 | 401 |      422 |    422 |   422 |   422 | body create.id=own
POST   tasks/bulk/                         |    401 |  401 |   401 | 401 |      422 |    422 |   422 |   422 | body create.id=alice
POST   tasks/bulk/                         |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | body create.id=none
POST   tasks/bulk/                         |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | body create.owner=own
POST   tasks/bulk/                         |    401 |  401 |   401 | 401 |      422 |    422 |   200 |   200 | body create.owner=alice
POST   tasks/bulk/                         |    401 |  401 |   401 | 401 |      422 |    422 |   422 |   422 | body create.owner=none
POST   tasks/bulk/                         |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | body create.category=own
POST   tasks/bulk/                         |    401 |  401 |   401 | 401 |      422 |    422 |   200 |   422 | body create.category=alice
POST   tasks/bulk/                         |    401 |  401 |   401 | 401 |      422 |    422 |   422 |   422 | body create.category=none
POST   tasks/bulk/                         |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | body update.id=own
POST   tasks/bulk/                         |    401 |  401 |   401 | 401 |      422 |    422 |   200 |   200 | body update.id=alice
POST   tasks/bulk/                         |    401 |  401 |   401 | 401 |      422 |    422 |   422 |   422 | body update.id=none
POST   tasks/bulk/                         |    401 |  401 |   401 | 401 |      422 |    422 |   200 |   422 | body update.id=own, body update.category=alice
POST   tasks/bulk/                         |    401 |  401 |   401 | 401 |      422 |    422 |   422 |   422 | body update.id=own, body update.category=none
POST   tasks/bulk/                         |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | body update.id=own, body update.category=own
POST   tasks/bulk/                         |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | body delete.id=own
POST   tasks/bulk/                         |    401 |  401 |   401 | 401 |      422 |    422 |   200 |   200 | body delete.id=alice
POST   tasks/bulk/                         |    401 |  401 |   401 | 401 |      422 |    422 |   422 |   422 | body delete.id=none

GET    categories/                         |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | -
GET    categories/                         |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query owner=own
GET    categories/                         |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query owner=alice
GET    categories/                         |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query owner=none
GET    categories/                         |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query owner__ne=alice
GET    categories/                         |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query owner__ne=none
POST   categories/                         |    401 |  401 |   401 | 401 |      201 |    201 |   201 |   201 | -
POST   categories/                         |    401 |  401 |   401 | 401 |      409 |    409 |   409 |   409 | body id=own
POST   categories/                         |    401 |  401 |   401 | 401 |      409 |    409 |   409 |   409 | body id=alice
POST   categories/                         |    401 |  401 |   401 | 401 |      201 |    201 |   201 |   201 | body id=none
GET    categories/<id:category_id>/        |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | path=own
GET    categories/<id:category_id>/        |    401 |  401 |   401 | 401 |      404 |    404 |   200 |   200 | path=alice
GET    categories/<id:category_id>/        |    401 |  401 |   401 | 401 |      404 |    404 |   404 |   404 | path=none
PUT    categories/<id:category_id>/        |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | path=own
PUT    categories/<id:category_id>/        |    401 |  401 |   401 | 401 |      404 |    404 |   200 |   200 | path=alice
PUT    categories/<id:category_id>/        |    401 |  401 |   401 | 401 |      404 |    404 |   404 |   404 | path=none
PATCH  categories/<id:category_id>/        |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | path=own
PATCH  categories/<id:category_id>/        |    401 |  401 |   401 | 401 |      404 |    404 |   200 |   200 | path=alice
PATCH  categories/<id:category_id>/        |    401 |  401 |   401 | 401 |      404 |    404 |   404 |   404 | path=none
DELETE categories/<id:category_id>/        |    401 |  401 |   401 | 401 |      204 |    204 |   204 |   204 | path=own
DELETE categories/<id:category_id>/        |    401 |  401 |   401 | 401 |      404 |    404 |   204 |   204 | path=alice
DELETE categories/<id:category_id>/        |    401 |  401 |   401 | 401 |      404 |    404 |   404 |   404 | path=none

GET    activity-logs/                      |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | -
GET    activity-logs/                      |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query target_id=own
GET    activity-logs/                      |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query target_id=alice
GET    activity-logs/                      |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query target_id=none
GET    activity-logs/                      |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query actor=own
GET    activity-logs/                      |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query actor=alice
GET    activity-logs/                      |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | query actor=none

GET    export/                             |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | -
POST   import/                             |    401 |  401 |   401 | 401 |      200 |    200 |   200 |   200 | -

GET    bans/                               |    401 |  401 |   401 | 401 |      403 |    403 |   403 |   200 | -
POST   bans/                               |    401 |  401 |   401 | 401 |      403 |    403 |   403 |   201 | -
GET    bans/<id:ban_id>/                   |    401 |  401 |   401 | 401 |      404 |    404 |   404 |   200 | path=own
GET    bans/<id:ban_id>/                   |    401 |  401 |   401 | 401 |      404 |    404 |   404 |   200 | path=alice
GET    bans/<id:ban_id>/                   |    401 |  401 |   401 | 401 |      404 |    404 |   404 |   404 | path=none
PATCH  bans/<id:ban_id>/                   |    401 |  401 |   401 | 401 |      404 |    404 |   404 |   200 | path=own
PATCH  bans/<id:ban_id>/                   |    401 |  401 |   401 | 401 |      404 |    404 |   404 |   200 | path=alice
PATCH  bans/<id:ban_id>/                   |    401 |  401 |   401 | 401 |      404 |    404 |   404 |   404 | path=none
DELETE bans/<id:ban_id>/                   |    401 |  401 |   401 | 401 |      404 |    404 |   404 |   204 | path=own
DELETE bans/<id:ban_id>/                   |    401 |  401 |   401 | 401 |      404 |    404 |   404 |   204 | path=alice
DELETE bans/<id:ban_id>/                   |    401 |  401 |   401 | 401 |      404 |    404 |   404 |   404 | path=none

GET    /api/v1/                            |    200 |  200 |   200 | 200 |      200 |    200 |   200 |   200 | -
GET    /api/v1/schema/                     |    200 |  200 |   200 | 200 |      200 |    200 |   200 |   200 | -
GET    /api/v1/docs/                       |    200 |  200 |   200 | 200 |      200 |    200 |   200 |   200 | -
GET    /                                   |    200 |  200 |   200 | 200 |      200 |    200 |   200 |   200 | -
GET    /healthz                            |    200 |  200 |   200 | 200 |      200 |    200 |   200 |   200 | -
GET    /readyz                             |    200 |  200 |   200 | 200 |      200 |    200 |   200 |   200 | -
GET    /verify-email/                     |    200 |  200 |   200 | 200 |      200 |    200 |   200 |   200 | -
GET    /verify-email                      |    302 |  302 |   302 | 302 |      302 |    302 |   302 |   302 | -
GET    /unsubscribe/<str:token>/           |    404 |  404 |   404 | 404 |      404 |    404 |   404 |   404 | -
"""

REVEALING = {
    # An id is one row in the whole database, so a taken one has to be refused, whoever has it. Nothing of that row is
    # told, and with 74 random bits in each id nobody can go looking.
    ("POST", "tasks/", "body id"),
    ("POST", "tasks/bulk/", "body create.id"),
    ("POST", "categories/", "body id"),
}
"""Where a foreign id is answered otherwise than the id of nothing."""

ADMIN = """
                                                     | nobody | member | admin
GET  admin/                                          |    302 |    302 |   200
GET  admin/login/                                    |    200 |    200 |   302
GET  admin/logout/                                   |    302 |    302 |   405
POST admin/logout/                                   |    302 |    302 |   200
GET  admin/password_change/                          |    302 |    302 |   200
GET  admin/password_change/done/                     |    302 |    302 |   200
GET  admin/autocomplete/                             |    302 |    302 |   403
GET  admin/jsi18n/                                   |    302 |    302 |   200
GET  admin/<app_label>/                              |    302 |    302 |   200
GET  admin/<url>                                     |    302 |    302 |   404
GET  admin/activity/change/                          |    302 |    302 |   200
GET  admin/activity/change/add/                      |    302 |    302 |   403
POST admin/activity/change/add/                      |    302 |    302 |   403
GET  admin/activity/change/<path:object_id>/         |    302 |    302 |   302
GET  admin/activity/change/<path:object_id>/change/  |    302 |    302 |   200
POST admin/activity/change/<path:object_id>/change/  |    302 |    302 |   403
GET  admin/activity/change/<path:object_id>/delete/  |    302 |    302 |   403
POST admin/activity/change/<path:object_id>/delete/  |    302 |    302 |   403
GET  admin/activity/change/<path:object_id>/history/ |    302 |    302 |   200
GET  admin/tasks/task/                               |    302 |    302 |   200
GET  admin/tasks/task/add/                           |    302 |    302 |   403
POST admin/tasks/task/add/                           |    302 |    302 |   403
GET  admin/tasks/task/<path:object_id>/              |    302 |    302 |   302
GET  admin/tasks/task/<path:object_id>/change/       |    302 |    302 |   200
POST admin/tasks/task/<path:object_id>/change/       |    302 |    302 |   403
GET  admin/tasks/task/<path:object_id>/delete/       |    302 |    302 |   403
POST admin/tasks/task/<path:object_id>/delete/       |    302 |    302 |   403
GET  admin/tasks/task/<path:object_id>/history/      |    302 |    302 |   200
GET  admin/tasks/category/                           |    302 |    302 |   200
GET  admin/tasks/category/add/                       |    302 |    302 |   403
POST admin/tasks/category/add/                       |    302 |    302 |   403
GET  admin/tasks/category/<path:object_id>/          |    302 |    302 |   302
GET  admin/tasks/category/<path:object_id>/change/   |    302 |    302 |   200
POST admin/tasks/category/<path:object_id>/change/   |    302 |    302 |   403
GET  admin/tasks/category/<path:object_id>/delete/   |    302 |    302 |   403
POST admin/tasks/category/<path:object_id>/delete/   |    302 |    302 |   403
GET  admin/tasks/category/<path:object_id>/history/  |    302 |    302 |   200
GET  admin/accounts/user/                            |    302 |    302 |   200
GET  admin/accounts/user/add/                        |    302 |    302 |   403
POST admin/accounts/user/add/                        |    302 |    302 |   403
GET  admin/accounts/user/<path:object_id>/           |    302 |    302 |   302
GET  admin/accounts/user/<path:object_id>/change/    |    302 |    302 |   200
POST admin/accounts/user/<path:object_id>/change/    |    302 |    302 |   403
GET  admin/accounts/user/<path:object_id>/delete/    |    302 |    302 |   403
POST admin/accounts/user/<path:object_id>/delete/    |    302 |    302 |   403
GET  admin/accounts/user/<path:object_id>/history/   |    302 |    302 |   200
GET  admin/accounts/session/                         |    302 |    302 |   200
GET  admin/accounts/session/add/                     |    302 |    302 |   403
POST admin/accounts/session/add/                     |    302 |    302 |   403
GET  admin/accounts/session/<path:object_id>/        |    302 |    302 |   302
GET  admin/accounts/session/<path:object_id>/change/ |    302 |    302 |   200
POST admin/accounts/session/<path:object_id>/change/ |    302 |    302 |   403
GET  admin/accounts/session/<path:object_id>/delete/ |    302 |    302 |   403
POST admin/accounts/session/<path:object_id>/delete/ |    302 |    302 |   403
GET  admin/accounts/session/<path:object_id>/history/|    302 |    302 |   200
GET  admin/guard/ban/                                |    302 |    302 |   200
GET  admin/guard/ban/add/                            |    302 |    302 |   200
POST admin/guard/ban/add/                            |    302 |    302 |   200
GET  admin/guard/ban/<path:object_id>/               |    302 |    302 |   302
GET  admin/guard/ban/<path:object_id>/change/        |    302 |    302 |   200
POST admin/guard/ban/<path:object_id>/change/        |    302 |    302 |   403
GET  admin/guard/ban/<path:object_id>/delete/        |    302 |    302 |   403
POST admin/guard/ban/<path:object_id>/delete/        |    302 |    302 |   403
GET  admin/guard/ban/<path:object_id>/history/       |    302 |    302 |   200
GET  admin/jobs/job/                                 |    302 |    302 |   200
GET  admin/jobs/job/add/                             |    302 |    302 |   403
POST admin/jobs/job/add/                             |    302 |    302 |   403
GET  admin/jobs/job/<path:object_id>/                |    302 |    302 |   302
GET  admin/jobs/job/<path:object_id>/change/         |    302 |    302 |   200
POST admin/jobs/job/<path:object_id>/change/         |    302 |    302 |   403
GET  admin/jobs/job/<path:object_id>/delete/         |    302 |    302 |   403
POST admin/jobs/job/<path:object_id>/delete/         |    302 |    302 |   403
GET  admin/jobs/job/<path:object_id>/history/        |    302 |    302 |   200
GET  admin/jobs/schedule/                            |    302 |    302 |   200
GET  admin/jobs/schedule/add/                        |    302 |    302 |   403
POST admin/jobs/schedule/add/                        |    302 |    302 |   403
GET  admin/jobs/schedule/<path:object_id>/           |    302 |    302 |   302
GET  admin/jobs/schedule/<path:object_id>/change/    |    302 |    302 |   200
POST admin/jobs/schedule/<path:object_id>/change/    |    302 |    302 |   403
GET  admin/jobs/schedule/<path:object_id>/delete/    |    302 |    302 |   403
POST admin/jobs/schedule/<path:object_id>/delete/    |    302 |    302 |   403
GET  admin/jobs/schedule/<path:object_id>/history/   |    302 |    302 |   200
GET  admin/notifications/notice/                     |    302 |    302 |   200
GET  admin/notifications/notice/add/                 |    302 |    302 |   403
POST admin/notifications/notice/add/                 |    302 |    302 |   403
GET  admin/notifications/notice/<path:object_id>/    |    302 |    302 |   302
GET  admin/notifications/notice/<path:object_id>/change/|    302 |    302 |   200
POST admin/notifications/notice/<path:object_id>/change/|    302 |    302 |   403
GET  admin/notifications/notice/<path:object_id>/delete/|    302 |    302 |   403
POST admin/notifications/notice/<path:object_id>/delete/|    302 |    302 |   403
GET  admin/notifications/notice/<path:object_id>/history/|    302 |    302 |   200
"""
"""Django's admin: nobody signed in, a member with a session of Django's, an admin with one. 302 leads to the sign-in."""


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    method: str
    route: str
    ids: tuple[tuple[str, str, str], ...]
    expected: dict[str, int]

    def __str__(self) -> str:
        ids = "+".join(f"{place}.{name}={whose}" for place, name, whose in self.ids)
        return f"{self.method} {self.route}{' ' if ids else ''}{ids}"

    def whose(self, place: str, name: str = "id") -> str | None:
        """Whose id stands there, if one does."""
        return next((whose for where, what, whose in self.ids if (where, what) == (place, name)), None)


def _ids(text: str) -> tuple[tuple[str, str, str], ...]:
    """`path=own, body category=alice` → (("path", "id", "own"), ("body", "category", "alice"))."""
    if text == "-":
        return ()
    found = []
    for part in text.split(","):
        place, _, whose = part.strip().partition("=")
        where, _, name = place.partition(" ")
        found.append((where, name or "id", whose))
    return tuple(found)


def lines() -> list[Line]:
    """The table of the API and of everything else but the admin."""
    head, *rows = [row for row in API.splitlines() if row.strip()]
    assert tuple(cell.strip() for cell in head.split("|")[1:]) == CALLERS
    parsed = []
    for row in rows:
        operation, *statuses, ids = [cell.strip() for cell in row.split("|")]
        method, route = operation.split()
        expected = dict(zip(CALLERS, map(int, statuses), strict=True))
        parsed.append(Line(method, route, _ids(ids), expected))
    return parsed


def admin_lines() -> list[tuple[str, str, dict[str, int]]]:
    """The table of Django's admin: (method, route, {who: status})."""
    head, *rows = [row for row in ADMIN.splitlines() if row.strip()]
    who = [cell.strip() for cell in head.split("|")[1:]]
    parsed = []
    for row in rows:
        operation, *statuses = [cell.strip() for cell in row.split("|")]
        method, route = operation.split()
        parsed.append((method, route, dict(zip(who, map(int, statuses), strict=True))))
    return parsed
