"""People, their logins and their keys."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mezoroi.app.passwords import hash_password, key_hash, new_key
from mezoroi.app.roles import Role
from mezoroi.app.tables import LoginFailure, LoginSession, Token, User, now
from mezoroi.errors import MezoroiError

FREE_FAILURES = 5
"""Failed logins in a row before a name is locked."""
FIRST_LOCK, LONGEST_LOCK = timedelta(seconds=30), timedelta(minutes=15)
IDLE, OLDEST = timedelta(hours=12), timedelta(days=30)
"""A login ends after this long without a page, and after this long at the latest."""
_SEEN_STEP = timedelta(minutes=5)
_FORGET_FAILURES = timedelta(days=1)
_LOGIN = select(LoginSession).where(LoginSession.token_hash == bindparam("token_hash"))


def add_user(
    session: Session,
    name: str,
    role: Role,
    password: str,
    *,
    must_change: bool = False,
    full_name: str = "",
) -> User:
    """Add a user; experts start in blind mode.

    Raises
    ------
    MezoroiError
        If the name is taken or unfit, or the password is.
    """
    clean = clean_name(name)
    if not clean or len(clean) > 64 or any(ord(c) < 32 for c in clean):
        raise MezoroiError("a user's name has 1 to 64 characters: give another")
    taken = MezoroiError(f"there is a user `{clean}` already: give another name")
    if find_user(session, clean) is not None:
        raise taken
    user = User(
        name=clean,
        full_name=full_name.strip()[:128],
        role=role.value,
        password_hash=hash_password(password),
        must_change_password=must_change,
        blind=role is Role.EXPERT,
    )
    try:
        with session.begin_nested():
            session.add(user)
    except IntegrityError as error:  # a double tap
        raise taken from error
    return user


def clean_name(name: str) -> str:
    """A login name without surrounding space, in lower case and narrow letters.

    A Japanese keyboard may write it full-width, and some write an accent as a sign of its own.
    """
    return unicodedata.normalize("NFKC", name).strip().casefold()


def find_user(session: Session, name: str) -> User | None:
    """The user of a name, or None."""
    return session.scalar(select(User).where(User.name == clean_name(name)))


def get_user(session: Session, user_id: int) -> User | None:
    """The user of an id, or None."""
    return session.get(User, user_id)


def list_users(session: Session) -> Sequence[User]:
    """Everyone, by name."""
    return session.scalars(select(User).order_by(User.name)).all()


def count_users(session: Session) -> int:
    """How many users there are."""
    return session.scalar(select(func.count()).select_from(User)) or 0


def set_password(session: Session, user: User, password: str, *, must_change: bool = False) -> None:
    """Change a password and end all the user's logins; failed ones are forgotten."""
    forget_failures(session, user)
    user.password_hash = hash_password(password)
    user.must_change_password = must_change
    for login in session.scalars(select(LoginSession).where(LoginSession.user_id == user.id)):
        session.delete(login)


def seconds_locked(session: Session, name: str) -> int:
    """Seconds until the name may try again; 0 where it may now."""
    found = session.get(LoginFailure, clean_name(name)[:64])
    if found is None or found.locked_until is None:
        return 0
    return max(0, round((found.locked_until - now()).total_seconds()))


def note_failure(session: Session, name: str) -> None:
    """Count a failed login; from `FREE_FAILURES` on the name is locked, longer each time."""
    key = clean_name(name)[:64]
    old = delete(LoginFailure).where(LoginFailure.last_at < now() - _FORGET_FAILURES)
    session.execute(old)
    found = session.get(LoginFailure, key, with_for_update=True)
    if found is None:
        try:
            with session.begin_nested():
                session.add(LoginFailure(name=key, failures=0))
        except IntegrityError:  # another attempt has just made it
            pass
        found = session.get_one(LoginFailure, key, with_for_update=True)
    found.failures += 1
    found.last_at = now()
    excess = found.failures - FREE_FAILURES
    if excess >= 0:
        found.locked_until = now() + min(FIRST_LOCK * 2 ** min(excess, 10), LONGEST_LOCK)


def forget_failures(session: Session, user: User) -> None:
    """Let a user try again at once."""
    session.execute(delete(LoginFailure).where(LoginFailure.name == user.name[:64]))


def start_login(session: Session, user: User) -> str:
    """Log a user in; returns the cookie's key."""
    forget_failures(session, user)
    for old in session.scalars(
        select(LoginSession).where(LoginSession.seen_at < now() - IDLE).limit(100)
    ):
        session.delete(old)
    key = new_key()
    session.add(LoginSession(token_hash=key_hash(key), user_id=user.id))
    return key


def login_of(session: Session, key: str) -> LoginSession | None:
    """The login of a cookie's key, with its user; None where it has ended."""
    found = session.scalar(_LOGIN, {"token_hash": key_hash(key)})
    if found is None or not found.user.active:
        return None
    if found.seen_at < now() - IDLE or found.created_at < now() - OLDEST:
        return None
    return found


def is_stale(login: LoginSession) -> bool:
    """Whether `touch_login` is due; not at every page, since it writes."""
    return login.seen_at < now() - _SEEN_STEP


def touch_login(session: Session, key: str) -> None:
    """Note that a login is in use."""
    found = session.get(LoginSession, key_hash(key))
    if found is not None:
        found.seen_at = now()


def end_login(session: Session, key: str) -> None:
    """Log out."""
    found = session.get(LoginSession, key_hash(key))
    if found is not None:
        session.delete(found)


def add_token(session: Session, user: User, name: str) -> str:
    """Make an API token; the key is shown once and stored as its hash."""
    key = new_key()
    session.add(Token(user_id=user.id, name=name[:64], token_hash=key_hash(key)))
    return key


def user_of_token(session: Session, key: str) -> User | None:
    """The user of an API token that is in force, or None."""
    found = session.scalar(select(Token).where(Token.token_hash == key_hash(key)))
    if found is None or found.revoked_at is not None or not found.user.active:
        return None
    return found.user


def list_tokens(session: Session, user_id: int) -> Sequence[Token]:
    """A user's API tokens in force, newest first."""
    query = select(Token).where(Token.user_id == user_id, Token.revoked_at.is_(None))
    return session.scalars(query.order_by(Token.id.desc())).all()


def revoke_token(session: Session, user_id: int, token_id: int) -> None:
    """Take one of a user's tokens out of force; nothing where it is another's."""
    found = session.get(Token, token_id)
    if found is not None and found.user_id == user_id and found.revoked_at is None:
        found.revoked_at = now()


def set_role(session: Session, user: User, role: Role) -> None:
    """Give a user another role; who becomes an expert starts in blind mode.

    Raises
    ------
    MezoroiError
        If no administrator would be left.
    """
    if role is not Role.ADMIN:
        _keep_an_admin(session, user)
    if role is Role.EXPERT and user.role != role.value:
        user.blind = True
    user.role = role.value


def revoke_tokens(session: Session, user: User) -> None:
    """Take all of a user's tokens out of force."""
    for token in list_tokens(session, user.id):
        token.revoked_at = now()


def set_active(session: Session, user: User, active: bool) -> None:
    """Lock a user's login, and end all their sessions, or give it back, failures forgotten.

    Raises
    ------
    MezoroiError
        If no administrator would be left.
    """
    if not active:
        _keep_an_admin(session, user)
        for login in session.scalars(select(LoginSession).where(LoginSession.user_id == user.id)):
            session.delete(login)
    else:
        forget_failures(session, user)
    user.active = active


def _keep_an_admin(session: Session, user: User) -> None:
    if user.role != Role.ADMIN.value:
        return
    # Held first: of two who are changed at once one may be the last that the other counts on.
    admins = select(User.id).where(User.role == Role.ADMIN.value).order_by(User.id)
    session.execute(admins.with_for_update(key_share=True))
    others = admins.where(User.active, User.id != user.id).limit(1)
    if session.scalar(others) is None:
        raise MezoroiError("no administrator would be left: make another one first")
