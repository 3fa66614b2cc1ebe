"""What can go wrong, and the one sentence that a member or an operator reads about it.

`sentence()` is the only table from errors to words: chat, the command line and the log all ask it.
"""

import errno

from generation.image_input import ImageRefused
from generation.prompt import PromptError
from generation.request import InvalidRequest


class UserError(Exception):
    """Something went wrong."""

    # The docstring of a subclass is its sentence; `{name}` is filled from the keyword arguments.

    def __init__(self, text: str | None = None, **values: object) -> None:
        template = text if text is not None else (type(self).__doc__ or "").strip()
        super().__init__(template.format(**values) if values else template)


class QueueFull(UserError):
    """You already have {waiting} pictures waiting and {limit} is the most: wait for some, or /cancel one."""


class TooManyAtOnce(UserError):
    """That makes {images} pictures and {limit} is the most here: ask for fewer at once."""


class NotYours(UserError):
    """Only the member who asked for this picture can do that."""


class NotFound(UserError):
    """This picture is not known here any more."""


class StartImageGone(UserError):
    """The start image of this picture is no longer kept: attach it again."""


class StartImageDeleted(UserError):
    """The member whose picture this starts from has deleted it."""


class ConceptUnknown(UserError):
    """There is no concept <{name}> that you can use here: /concepts list shows those that there are."""


class ConceptGone(UserError):
    """The concept <{name}> was deleted, or is not shared any more: ask again without it."""


class ConceptNameTaken(UserError):
    """A concept <{name}> is shared in this server already: rename yours first, with /concepts rename."""


class ConceptTakenDown(UserError):
    """A moderator has ended the sharing of <{name}> here, so it cannot be shared here again: it is still yours."""


class OwnNameTaken(UserError):
    """You have a concept <{name}> already: choose another name, or delete that one first."""


class DepictsSomethingElse(UserError):
    """Your concept <{name}> is of something else, as you said then: choose another name."""


class ConceptLimit(UserError):
    """You have {count} concepts and {limit} is the most here: delete one first, with /concepts delete."""


class TrainingLimit(UserError):
    """You have begun {count} trainings within a day and {limit} is the most here: try again later."""


class NoTrainings(UserError):
    """This studio takes no trainings: ask its operator."""


class TrainingActive(UserError):
    """You have a training under way: wait for its end, or /cancel it."""


class WrongModel(UserError):
    """The concept <{name}> was made for the model {made_for}, and this studio draws with {here}: train it again."""


class ConceptFileGone(UserError):
    """The file of the concept <{name}> is missing: tell the operator, or train it again."""


class ConceptFileRefused(UserError):
    """This file cannot be used as a concept: {reason}."""


class PhotosGone(UserError):
    """The photos of this training are no longer there: send them again."""


class NotShareable(UserError):
    """Concepts are shared in a server: use the command there."""


class Blocked(UserError):
    """A moderator of this server has blocked you from asking for pictures here."""


class TooManyReports(UserError):
    """You have sent several reports within this hour, and they are with the operator: try again later."""


class NotDownloaded(UserError):
    """I could not download your picture from Discord: attach it again, please."""


class RegistryTrouble(UserError):
    """The studio's records cannot be used right now: try again in a minute."""


class RegistryBusy(RegistryTrouble):
    """The studio's records are locked by another program right now: try again in a minute."""


class DiskFull(RegistryTrouble):
    """The studio's disk is full, so nothing new can be kept: the operator has to make room."""


class RegistryUnwritable(RegistryTrouble):
    """The studio's records cannot be written, so nothing new can be kept: the operator has to look at the disk."""


class DataFolderInUse(UserError):
    """Another Atelier already uses the data folder {folder}: stop it, or set ATELIER_DATA_DIR to another folder."""


class DataFolderUnusable(UserError):
    """The data folder {folder} cannot be used ({reason}): set ATELIER_DATA_DIR to a folder that can be written."""


class NoReports(UserError):
    """There is no database with reports in {folder}: set ATELIER_DATA_DIR to the bot's data folder."""


class NoConcepts(UserError):
    """There is no database with concepts in {folder}: set ATELIER_DATA_DIR to the bot's data folder."""


class NoSuchConcept(UserError):
    """Nobody has a concept <{name}>: atelier concepts list shows all."""


class WhoseConcept(UserError):
    """Several members have a concept <{name}>: say whose with --owner ({owners})."""


class NoOwner(UserError):
    """Say whose concept it will be: --owner with a member's id, or set ATELIER_OPERATOR_ID to yours."""


class DatabaseDamaged(UserError):
    """The database {path} is damaged ({reason}): put a backup in its place, or move it away to begin anew."""


class DatabaseTooNew(UserError):
    """The database {path} was made by a newer Atelier: update Atelier, or set ATELIER_DATA_DIR to another folder."""


class BackupInside(UserError):
    """The backup would lie inside the data folder {folder}: choose a place elsewhere, best on another disk."""


class NothingToBackUp(UserError):
    """There is no database in {folder}: set ATELIER_DATA_DIR to the bot's data folder."""


class NotCopied(UserError):
    """The database in {folder} cannot be copied ({reason}): run atelier doctor."""


class FilesUnreadable(UserError):
    """The pictures in {folder} cannot be read ({reason}): run this as the user that the bot runs as."""


class BackupDiskFull(UserError):
    """There is not enough room for the backup in {place}: make some, or choose another disk."""


class BackupUnwritable(UserError):
    """The backup cannot be written to {place} ({reason}): choose a folder that this user may write to."""


INTERNAL_ERROR = "Something went wrong in the studio. It is in the log; please try again."
CRASHED_TOO_OFTEN = "This picture crashed the worker three times, so it was given up."
TRAINING_CRASHED_TOO_OFTEN = "This training crashed the worker three times, so it was given up."
START_IMAGE_DELETED = str(StartImageDeleted())
NOT_CHECKED = "The picture could not be checked, so it is not shown."


def sentence(error: BaseException) -> str:
    """One plain sentence about `error` for whoever is waiting; never a traceback, never a path of ours."""
    if isinstance(error, UserError | InvalidRequest | ImageRefused | PromptError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return str(DiskFull())
    return INTERNAL_ERROR
