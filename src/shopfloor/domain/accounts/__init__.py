"""Owns how people get in: passwords, sessions, tokens, invitations, set-up links, second factors, identity providers.

    password | OIDC | passkey --> sign_in.finish_first_factor --> Signed: a session (sessions.open_session)
                                          |                          (restricted: may only enrol a second factor)
                                          +--> Pending: a challenge, ended by POST /auth/second-factor

Who is asking at each request is found one floor of the house below, in `access/sign_in.py`: this room makes what that
one checks. A row of `users` is one person in one organization; `users.disabled_at` ends everything of theirs at once.
"""
