"""Reads the fields of an Airflow connection into a tenant that requests can be sent to."""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from lucca_provider.exceptions import LuccaConfigurationError

__all__ = ["Tenant"]

DEFAULT_REQUESTS_PER_MINUTE = 45
"""Of the 50 that Lucca allows all clients of a tenant together, so that others have some room."""
DEFAULT_WINDOW_SECONDS = 60.0
"""Length of Lucca's sliding window. The extra ``window_seconds`` shortens it for a sandbox that does the same."""
DEFAULT_TIMEOUT = 10.0
"""Seconds; longer than the 5 after which Lucca itself gives up, so that its own answer is heard."""
MAX_SHOWN = 100
"""Characters of a wrong value in a message."""

_DEFAULT_PORTS = {"https": 443, "http": 80}
_KEY_PREFIX = re.compile(r"(?:authorization\s*:\s*)?lucca\s+application\s*=\s*", re.IGNORECASE)
_LIKE_A_KEY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?=[a-f]*[0-9])[0-9a-f]{32}", re.IGNORECASE)
_HOST = re.compile(r"(?=.{1,253}$)(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*")
_ENVIRONMENTS = (
    ("production", re.compile(r"[^.]+\.ilucca\.(net|ch)")),
    ("test", re.compile(r"[^.]+\.ilucca-test\.(net|ch)")),
    ("demo", re.compile(r"[^.]+\.ilucca-demo\.(net|ch)")),
    ("sandbox", re.compile(r"[^.]+-[^.-]+\.sandbox\.(eu1|eu2|ch1)\.luccasoftware\.com")),
)


class _Connection(Protocol):
    @property
    def conn_id(self) -> str | None: ...
    @property
    def host(self) -> str | None: ...
    @property
    def port(self) -> int | None: ...
    @property
    def schema(self) -> str | None: ...
    @property
    def password(self) -> str | None: ...
    @property
    def extra_dejson(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Tenant:
    """
    One Lucca tenant and how to talk to it.

    :param base_url: scheme, host and port, without a slash at the end
    :param host: host name or address without port, in lower case
    :param api_key: the key alone, never shown by ``repr``
    :param requests_per_minute: the share of the tenant's limit that a task may use
    :param window_seconds: length of the limit's sliding window, in which ``requests_per_minute`` requests may go out
    :param timeout: seconds to wait for a connection, for each next part of an answer, and for its body in all
    """

    base_url: str
    host: str
    api_key: str = field(repr=False)
    requests_per_minute: int
    window_seconds: float
    timeout: float

    @classmethod
    def from_connection(cls, connection: _Connection) -> Tenant:
        """
        Read a connection.

        :raises LuccaConfigurationError: naming the connection id and the field; nothing has been sent
        """
        reader = _Reader(connection)
        del connection  # its repr has the password, and some tracebacks show local variables
        return reader.tenant()

    @property
    def environment(self) -> str:
        """``production``, ``test``, ``demo``, ``sandbox``, or ``other`` for a host that Lucca does not document."""
        return next((name for name, pattern in _ENVIRONMENTS if pattern.fullmatch(self.host)), "other")


class _Reader:
    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._extra = connection.extra_dejson

    def tenant(self) -> Tenant:
        if not isinstance(self._extra, dict):
            raise self._error("Extra", "must be a JSON object")
        scheme, host, port = self._address()
        return Tenant(
            base_url=f"{scheme}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}",
            host=host,
            api_key=self._api_key(),
            requests_per_minute=self._requests_per_minute(),
            window_seconds=self._seconds("window_seconds", DEFAULT_WINDOW_SECONDS),
            timeout=self._seconds("timeout", DEFAULT_TIMEOUT),
        )

    def _error(self, field_name: str, problem: str) -> LuccaConfigurationError:
        return LuccaConfigurationError(f"Connection {self._connection.conn_id!r}: {field_name} {problem}.")

    def _address(self) -> tuple[str, str, int | None]:
        given = self._connection.host or ""
        if not given:
            raise self._error("Host", "is empty; give the tenant, such as acme.ilucca.net")
        if "@" in given or _KEY_PREFIX.search(given) or _LIKE_A_KEY.search(given):
            # Not shown: what stands before an @ may be a password, and this may be the API key in the wrong field.
            raise self._error("Host", "contains user info (something before an @) or a key; give the host name alone")
        if re.search(r"[\s\x00-\x1f\x7f]", given):
            raise self._error("Host", f"{_shown(given)} contains white space; remove it")
        pasted_scheme, separator, rest = given.rpartition("://")
        host, pasted_port = self._host_and_port(given, f"[{rest}]" if _is_ipv6(rest) else rest)
        scheme = self._scheme(pasted_scheme if separator else None, host)
        port = self._port(pasted_port)
        return scheme, host, None if port == _DEFAULT_PORTS[scheme] else port

    def _host_and_port(self, given: str, netloc: str) -> tuple[str, int | None]:
        try:
            url = urlsplit(f"//{netloc}")
            host, port = url.hostname or "", url.port
        except ValueError as error:
            raise self._error("Host", f"{_shown(given)} is not a host name ({error})") from None
        if url.path not in ("", "/") or "?" in netloc or "#" in netloc:
            raise self._error("Host", f"{_shown(given)} has a path, a query or a fragment; give the host name alone")
        if not (_is_ipv6(host) if "[" in netloc else _HOST.fullmatch(host)):
            raise self._error("Host", f"{_shown(given)} is not a host name")
        return host, port

    def _scheme(self, pasted: str | None, host: str) -> str:
        schema = (self._connection.schema or "").strip().lower()
        if pasted is not None and schema and pasted.lower() != schema:
            raise self._error("Schema", f"is {_shown(schema)}, but Host starts with {pasted}://; leave one of them out")
        scheme = schema or "https" if pasted is None else pasted.lower()
        if scheme not in _DEFAULT_PORTS:
            raise self._error("Schema", f"{_shown(scheme)} is neither https nor http; leave it empty for https")
        if scheme == "http" and not _is_loopback(host) and not self._allow_insecure_http():
            raise self._error(
                "Schema",
                "http would send the API key in clear text; use https, or, for a test server only, set the extra "
                "allow_insecure_http to true",
            )
        return scheme

    def _port(self, pasted: int | None) -> int | None:
        port = self._connection.port
        if port is not None and pasted is not None and port != pasted:
            raise self._error("Port", f"is {port}, but Host ends with :{pasted}; leave one of them out")
        port = pasted if port is None else port
        if port is not None and not 1 <= port <= 65535:
            raise self._error("Port", f"{port} is not from 1 to 65535")
        return port

    def _api_key(self) -> str:
        key = _KEY_PREFIX.sub("", self._connection.password or "", count=1)
        problem = None
        if not key:
            problem = "is empty; it must hold the API key of Lucca"
        elif not re.fullmatch(r"[\x21-\x7e]+", key):
            problem = "contains white space, a control character or a letter outside ASCII; paste the API key alone"
        if problem:
            del key  # never shown, whatever is wrong with it
            raise self._error("Password", problem)
        return key

    def _requests_per_minute(self) -> int:
        value = self._extra.get("requests_per_minute")
        if value is None or value == "":
            return DEFAULT_REQUESTS_PER_MINUTE
        number = _number(value)
        if number is None or number != int(number) or not 1 <= number <= 1_000_000:
            raise self._error("extra requests_per_minute", f"{_shown(value)} is not a whole number from 1 to 1000000")
        return int(number)

    def _seconds(self, name: str, default: float) -> float:
        value = self._extra.get(name)
        if value is None or value == "":
            return default
        number = _number(value)
        if number is None or not 0 < number <= 3600:
            raise self._error(f"extra {name}", f"{_shown(value)} is not a number of seconds above 0 and up to 3600")
        return number

    def _allow_insecure_http(self) -> bool:
        value = self._extra.get("allow_insecure_http")
        if value is None or value == "":
            return False
        text = str(value).strip().lower()
        if text not in ("true", "false", "1", "0", "yes", "no"):
            raise self._error("extra allow_insecure_http", f"{_shown(value)} is neither true nor false")
        return text in ("true", "1", "yes")


def _number(value: object) -> float | None:
    """Read a number of an extra: the URI form of a connection has only text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.IPv6Address(host).scope_id is None
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shown(value: object) -> str:
    """Show what was given on one line, however long it is."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"
