"""The files of filestores that this pod has copies of, below one folder that holds nothing else: DATABASE/aa/SHA1, where Odoo looks for them.

Several processes share the folder. A copy is whole or not there. When it was used last is its access time, which is set here and not
left to the file system, at most once a minute. What all copies take is kept in a small file, so that nobody has to walk
through them before there are too many.
"""
import fcntl
import hashlib
import logging
import os
import re
import tempfile
import threading
import time

from . import guard

_logger = logging.getLogger(__name__)

NAME = re.compile(r"^([0-9a-f]{2})/\1[0-9a-f]{38}\Z")

_TOTAL = ".waybill-copies"  # what they take, and before when nobody needs to sweep
_SWEEP = ".waybill-sweep"  # locked by who sweeps
_NEW = ".new-"  # a copy on its way
_BLOCK = 4096  # bytes: also a small file takes one

_TOUCH = 60  # seconds between two notes that a file was used
_FRESH = 600  # seconds after a use in which a copy stays
_ABANDONED = 3600  # seconds after which nobody writes a copy any more
_PAUSE = 60  # seconds until the next sweep where one could not make enough room
_LEAVE = 0.9  # of the limit, so that the next sweep is not at once


class Occupied(Exception):
    """The folder holds files that may be no copies."""


class Wrong(Exception):
    """A content that is not its name's."""


class Copies:
    def __init__(self, folder, limit, clock=time.time):
        self.folder, self.limit, self._clock = folder, limit, clock
        self._sweeping = threading.Lock()

    def claim(self):
        """Makes the folder one of copies. One that holds files already is refused: they may be the only ones, and copies are thrown away."""
        os.makedirs(self.folder, exist_ok=True)
        if not os.path.exists(self._own(_TOTAL)):
            found = [entry.name for entry in os.scandir(self.folder) if not entry.name.startswith(".waybill-")]
            if found and not os.path.exists(self._own(_TOTAL)):
                raise Occupied("%s holds files already (%s): give the pool an empty folder" % (self.folder, found[0]))
            self._account(0)

    def has(self, path):
        """Whether the copy is there; it counts as used now."""
        try:
            found = os.stat(path)
            now = self._clock()
            if now - found.st_atime >= _TOUCH:
                os.utime(path, ns=(int(now * 1e9), found.st_mtime_ns))
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def add(self, path, chunks):
        """Makes a copy of what chunks yields, which must be what the path's last part says."""
        folder, name = os.path.split(path)
        os.makedirs(folder, exist_ok=True)
        digest, size = hashlib.sha1(usedforsecurity=False), 0
        handle, temporary = tempfile.mkstemp(prefix=_NEW, dir=folder)
        try:
            with open(handle, "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
                if digest.hexdigest() != name:
                    raise Wrong("a content of %d bytes is not that of %s" % (size, name))
                file.flush()
                os.fchmod(handle, 0o644)
                now = self._clock()
                os.utime(handle, (now, now))
                # After a crash a file could have its name and not its content.
                os.fsync(handle)
            os.rename(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        self._account(_room(size))

    def remove(self, path):
        """Removes a copy, if there is one."""
        try:
            size = os.stat(path).st_size
            os.unlink(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        self._account(-_room(size))

    # -- what they take

    def _own(self, name):
        return os.path.join(self.folder, name)

    def _account(self, more, since=None):
        """Adds to what the copies take. With since it is more now, and what was added since then."""
        # Opened each time: processes that were forked would share a lock of one that is kept open.
        handle = os.open(self._own(_TOTAL), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            total, pause = _read(handle)
            now = self._clock()
            if since is not None:
                total = more + max(0, total - since) if total is not None else more
                pause = now + _PAUSE if total > self.limit else 0
            elif total is not None:
                total = max(0, total + more)
            elif more == 0:
                total = 0  # a new folder
            if total is not None:
                os.pwrite(handle, b"%-20d %-20d\n" % (total, pause), 0)
        finally:
            os.close(handle)
        # A figure that was lost is found again by counting.
        if since is None and (total is None or total > self.limit) and now >= pause:
            self._start()
        return total

    def _start(self):
        if not self._sweeping.acquire(blocking=False):
            return
        try:
            with guard.allow():  # a flow may be what needs a file
                threading.Thread(target=self._sweep_once, name="waybill.copies", daemon=True).start()
        except BaseException:
            self._sweeping.release()
            raise

    def _sweep_once(self):
        try:
            self.sweep()
        except OSError as error:
            _logger.warning("copies of files in %s cannot be swept: %s", self.folder, error)
        finally:
            self._sweeping.release()

    def sweep(self):
        """Removes what was not used for longest until the rest is well below the limit. Nothing where another process is about it."""
        with open(self._own(_SWEEP), "ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return
            with open(self._own(_TOTAL), "rb") as file:
                since = _read(file.fileno())[0] or 0
            found, removed = list(self._each()), 0
            total = sum(room for _used, room, _path in found)
            if total > self.limit:
                for used, room, path in sorted(found):
                    if total <= self.limit * _LEAVE or used > self._clock() - _FRESH:
                        break
                    try:
                        if os.stat(path).st_atime == used:  # it may have been used meanwhile
                            os.unlink(path)
                            removed += 1
                            total -= room
                    except FileNotFoundError:
                        total -= room
            left = self._account(total, since)
        _logger.info("copies of files: %d removed, %d bytes are left of at most %d", removed, left, self.limit)
        if left > self.limit:
            _logger.warning("copies of files take %d bytes, more than %d: all were used a moment ago", left, self.limit)

    def _each(self):
        """(last use, room, path) of each copy. What was abandoned on its way is removed."""
        for database in _folders(self.folder):
            for digits in _folders(database.path):
                for entry in os.scandir(digits.path):
                    try:
                        info = entry.stat(follow_symlinks=False)
                        if NAME.match("%s/%s" % (digits.name, entry.name)):
                            yield info.st_atime, _room(info.st_size), entry.path
                        elif entry.name.startswith(_NEW) and info.st_mtime < self._clock() - _ABANDONED:
                            os.unlink(entry.path)
                    except FileNotFoundError:
                        continue


def _folders(path):
    return [entry for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False)]


def _room(size):
    return -(-size // _BLOCK) * _BLOCK


def _read(handle):
    """What the copies take, None where that is not known; and until when nobody sweeps."""
    try:
        total, pause = os.pread(handle, 64, 0).split()
        return int(total), int(pause)
    except ValueError:
        return None, 0
