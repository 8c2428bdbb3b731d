#!/usr/bin/python3
"""Take utility payments over HTTP and list their receipts, on PostgreSQL.

`payments.py serve` is the service; `payments.py migrate` makes its table, with the
owner's password on standard input.

Every answer is honest about the database: 201 only after COMMIT; `written: false`
only when no COMMIT was sent; `written: "unknown"` when a COMMIT got no answer.

The standard library's server is used because a cold start lies inside the outage
of a failover: Flask under gunicorn starts in three to four times this one's time.
"""

import json
import os
import queue
import select
import signal
import socket
import sys
import threading
import time
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import psycopg2
import psycopg2.extensions

CONNECT_S = 1.0
STATEMENT_S = 1.5
COMMIT_S = 4.0  # a synchronous primary without its standby keeps a COMMIT waiting for ever
CONNECTION_AGE_S = 5.0  # the TTL of the database's name: no connection outlives its address
CONNECTIONS = 32
BODY_BYTES = 65536
LINK_S = 2.0
WAITING_NOTICES = 1000

INSERT = """insert into payments (reference, account, amount_cents) values (%s, %s, %s)
            on conflict (reference) do nothing returning receipt"""
# The transaction id makes its COMMIT wait for a synchronous standby, as the first one perhaps did not.
FIND = """select receipt, account, amount_cents, pg_current_xact_id()::text
          from payments where reference = %s"""
LATEST = """select receipt, reference, account, amount_cents, taken_at
            from payments order by receipt desc limit %s"""
TABLE = """create table payments (
             receipt bigint generated always as identity primary key,
             reference text unique not null,
             account text not null,
             amount_cents bigint not null check (amount_cents > 0),
             taken_at timestamptz not null default now());
           grant select, insert on payments to {app};
           revoke all on database {database} from public;
           grant connect on database {database} to {app}"""


class Refused(Exception):
    """The request itself is wrong; nothing was written."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class NotWritten(Exception):
    """The database could not do it, and certainly did not."""


class Unknown(Exception):
    """A COMMIT was sent and its outcome never came back."""


class TimedOut(psycopg2.OperationalError):
    """The database gave no answer within the time of one call."""


_deadline = threading.local()


def wait_for_database(connection):
    """Wait on a connection's socket, but never past the deadline of this thread's call."""
    while True:
        state = connection.poll()
        if state == psycopg2.extensions.POLL_OK:
            return
        left = _deadline.at - time.monotonic()
        reading = [connection] if state == psycopg2.extensions.POLL_READ else []
        writing = [] if reading else [connection]
        if left <= 0 or not any(select.select(reading, writing, [], left)):
            raise TimedOut("no answer from the database in time")


def within(seconds):
    """Set the deadline of the next calls of this thread."""
    _deadline.at = time.monotonic() + seconds


def connect(settings, user, password):
    """Open a connection; the name is resolved anew each time."""
    within(CONNECT_S)
    return psycopg2.connect(
        host=settings["host"],
        port=settings["port"],
        dbname=settings["database"],
        user=user,
        password=password,
        application_name="payments",
        connect_timeout=1,
        tcp_user_timeout=1500,
        keepalives_idle=2,
        keepalives_interval=1,
        keepalives_count=2,
    )


class Pool:
    """Idle connections, newest first; all are dropped as soon as one proves dead."""

    def __init__(self, open_connection):
        self._open = open_connection
        self._idle = []
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(CONNECTIONS)

    @contextmanager
    def borrow(self, fresh):
        """Lend a connection; it comes back only when its use ended without an error."""
        if not self._slots.acquire(timeout=CONNECT_S):
            raise NotWritten("all database connections are busy")
        try:
            connection, opened_at = (None if fresh else self._take()) or (self._open(), time.monotonic())
            try:
                yield connection
            except BaseException:
                self._drop([(connection, opened_at)])
                raise
            self._give_back(connection, opened_at)
        finally:
            self._slots.release()

    def has_idle(self):
        with self._lock:
            return bool(self._idle)

    def clear(self):
        with self._lock:
            idle, self._idle = self._idle, []
        self._drop(idle)

    def _take(self):
        oldest = time.monotonic() - CONNECTION_AGE_S
        with self._lock:
            young = [entry for entry in self._idle if entry[1] > oldest]
            expired = [entry for entry in self._idle if entry[1] <= oldest]
            taken = young.pop() if young else None
            self._idle = young
        self._drop(expired)
        return taken

    def _give_back(self, connection, opened_at):
        with self._lock:
            self._idle.append((connection, opened_at))

    def _drop(self, entries):
        for connection, _ in entries:
            within(CONNECT_S)
            connection.close()


class Payments:
    """The service's three questions to its database."""

    def __init__(self, settings):
        self.settings = settings
        self.pool = Pool(lambda: connect(settings, settings["user"], settings["password"]))

    def take(self, reference, account, amount_cents):
        """Commit one payment; give its receipt, and whether it is new."""
        return self._twice(lambda connection: _take(connection, reference, account, amount_cents))

    def latest(self, limit):
        """List the newest receipts."""
        return self._twice(lambda connection: _latest(connection, limit))

    def role(self):
        """Say what the database is: primary, standby or unreachable."""
        try:
            standby = self._twice(_in_recovery)
        except NotWritten:
            return "unreachable"
        return "standby" if standby else "primary"

    def _twice(self, question):
        """Ask on a kept connection; if that one proves dead, once more on a new one.

        Safe, because only errors before COMMIT are asked again.
        """
        kept = self.pool.has_idle()
        try:
            return self._ask(question, fresh=not kept)
        except NotWritten:
            self.pool.clear()
            if not kept:
                raise
            return self._ask(question, fresh=True)

    def _ask(self, question, fresh):
        try:
            with self.pool.borrow(fresh) as connection:
                within(STATEMENT_S)
                return question(connection)
        except psycopg2.Error as error:
            raise NotWritten(first_line(error)) from error


def _take(connection, reference, account, amount_cents):
    with connection.cursor() as cursor:
        cursor.execute(INSERT, (reference, account, amount_cents))
        row = cursor.fetchone()
        if row is None:
            return _taken_before(connection, cursor, (reference, account, amount_cents))
    commit(connection)
    return row[0], True


def _taken_before(connection, cursor, payment):
    cursor.execute(FIND, payment[:1])
    receipt, *kept, _ = cursor.fetchone()
    commit(connection)
    if tuple(kept) != payment[1:]:
        raise Refused(409, "this reference was used for another payment")
    return receipt, False


def commit(connection):
    """Commit, or say that nobody knows."""
    within(COMMIT_S)
    del connection.notices[:]
    try:
        connection.commit()
    except psycopg2.Error as error:
        raise Unknown(first_line(error)) from error
    # A cancelled wait for the synchronous standby is only a warning, yet its promise is broken.
    if any("synchronous replication" in notice for notice in connection.notices):
        raise Unknown("committed at the primary, perhaps not at the standby")


def _latest(connection, limit):
    with connection.cursor() as cursor:
        cursor.execute(LATEST, (limit,))
        names = [column.name for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    connection.rollback()
    return rows


def _in_recovery(connection):
    with connection.cursor() as cursor:
        cursor.execute("select pg_is_in_recovery()")
        answer = cursor.fetchone()[0]
    connection.rollback()
    return answer


def first_line(error):
    """Give the first line of an error's text, for people."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class Links:
    """What others are told of every new payment: the bank, a mail relay. Nobody waits for them."""

    def __init__(self, places):
        self._places = [(host, int(port)) for host, _, port in (place.rpartition(":") for place in places)]
        self._notices = queue.Queue(WAITING_NOTICES)
        if places:
            threading.Thread(target=self._send_all, daemon=True).start()

    def tell(self, notice):
        """Hand a notice over; one too many is dropped: the receipts are the record, not these."""
        try:
            if self._places:
                self._notices.put_nowait(json.dumps(notice).encode() + b"\n")
        except queue.Full:
            print("a notice was dropped: links do not answer", file=sys.stderr)

    def _send_all(self):
        while True:
            notice = self._notices.get()
            for place in self._places:
                try:
                    with socket.create_connection(place, LINK_S) as door:
                        door.sendall(notice)
                except OSError as error:
                    print(f"link {place[0]}:{place[1]}: {error}", file=sys.stderr)


class Requests(BaseHTTPRequestHandler):
    """HTTP on one side, Payments on the other."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    disable_nagle_algorithm = True
    payments: Payments
    links: Links

    def do_GET(self):
        self._answer({"/receipts": self._receipts, "/health": self._health})

    def do_POST(self):
        self._answer({"/payments": self._pay})

    def _answer(self, routes):
        url = urlsplit(self.path)
        try:
            if url.path not in routes:
                raise Refused(404, "there is no such page")
            status, body = routes[url.path](parse_qs(url.query))
        except Refused as error:
            status, body = error.status, {"error": str(error), "written": False}
        except NotWritten as error:
            status, body = 503, {"error": str(error), "written": False}
        except Unknown as error:
            status, body = 500, {"error": str(error), "written": "unknown"}
        self._send(status, body)

    def _pay(self, _query):
        reference, account, amount_cents = read_payment(self._body())
        receipt, new = self.payments.take(reference, account, amount_cents)
        if new:
            self.links.tell({"receipt": receipt, "reference": reference, "amount_cents": amount_cents})
        return (201 if new else 200), {"receipt": receipt, "reference": reference}

    def _receipts(self, query):
        limit = query.get("limit", ["20"])[0]
        if not limit.isdecimal() or not 1 <= int(limit) <= 1000:
            raise Refused(400, "limit must be a number from 1 to 1000")
        return 200, self.payments.latest(int(limit))

    def _health(self, _query):
        role = self.payments.role()
        return (200 if role == "primary" else 503), {"app": "ok", "database": role}

    def _body(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > BODY_BYTES:
            self.close_connection = True  # what was not read would be taken for the next request
            status = 413 if length.isdecimal() else 411
            raise Refused(status, f"send at most {BODY_BYTES} bytes and their number")
        return self.rfile.read(int(length))

    def _send(self, status, body):
        content = json.dumps(body, default=datetime.isoformat).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        # One segment for head and body: end_headers() alone would send the head first.
        self._headers_buffer.append(b"\r\n" + content)
        self.flush_headers()

    def log_request(self, code="-", size="-"):
        if int(code) >= 500:
            super().log_request(code, size)


def read_payment(body):
    """Give reference, account and amount of a request's JSON, checked."""
    try:
        payment = json.loads(body)
    except ValueError:
        raise Refused(400, "the body is not JSON") from None
    if not isinstance(payment, dict):
        raise Refused(400, "the body is not a JSON object")
    reference, account, amount = (payment.get(key) for key in ("reference", "account", "amount_cents"))
    for name, text in (("reference", reference), ("account", account)):
        if not isinstance(text, str) or not 1 <= len(text) <= 200 or not text.isprintable():
            raise Refused(400, f"{name} must be a printable text of 1 to 200 characters")
    if type(amount) is not int or not 1 <= amount < 2**63:
        raise Refused(400, "amount_cents must be a whole number above zero")
    return reference, account, amount


class Server(ThreadingHTTPServer):
    """One thread a connection; a burst of clients waits in the kernel's queue."""

    daemon_threads = True
    request_queue_size = 128


def serve(settings):
    """Answer requests until SIGTERM."""
    Requests.payments, Requests.links = Payments(settings), Links(settings["links"])
    server = Server(("", settings["listen"]), Requests)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    tell_systemd("READY=1")
    server.serve_forever()


def tell_systemd(state):
    """Tell systemd that we answer, when it is systemd who started us (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(state.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)


def migrate(settings, owner, password):
    """Make the table if there is none; print whether anything changed."""
    connection = connect(settings, owner, password)
    within(COMMIT_S)
    with connection, connection.cursor() as cursor:
        cursor.execute("select to_regclass('payments') is null")
        missing = cursor.fetchone()[0]
        if missing:
            cursor.execute(TABLE.format(app=settings["user"], database=settings["database"]))
    print("changed" if missing else "unchanged")


def read_settings(environ):
    """Give the settings that the unit's environment file holds."""
    return {
        "listen": int(environ.get("PAYMENTS_LISTEN", "8080")),
        "host": environ["PAYMENTS_DATABASE_HOST"],
        "port": int(environ.get("PAYMENTS_DATABASE_PORT", "5432")),
        "database": environ["PAYMENTS_DATABASE"],
        "user": environ["PAYMENTS_DATABASE_USER"],
        "password": environ.get("PAYMENTS_DATABASE_PASSWORD", ""),
        "links": [place for place in environ.get("PAYMENTS_LINKS", "").split(",") if place],
    }


def main(arguments, environ):
    """Be the service, or make its table."""
    psycopg2.extensions.set_wait_callback(wait_for_database)
    if arguments == ["serve"]:
        serve(read_settings(environ))
    elif arguments == ["migrate"]:
        migrate(read_settings(environ), environ["PAYMENTS_DATABASE_OWNER"], sys.stdin.readline().rstrip("\n"))
    else:
        sys.exit("usage: payments.py serve | migrate")


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
