"""What can go wrong with an upload, by code; pages say it in the user's language."""

from __future__ import annotations

from mezoroi.app.i18n import Catalogue
from mezoroi.errors import MezoroiError


def N_(text: str) -> str:  # noqa: N802
    """Mark a text for translation; it is translated where it is shown."""
    return text


PROBLEMS = {
    "empty": N_("The file is empty. Please take the picture again."),
    "not media": N_("This is not a photo or a video. Please choose a JPEG, PNG, HEIC or MP4 file."),
    "too large": N_("The file is too large. Please take a smaller picture or a shorter video."),
    "no video": N_("This grader learned from photos. Please take a photo instead of a video."),
    "unreadable": N_("The file cannot be read. Please take the picture again."),
    "no fruit": N_("The fruit could not be followed. Please film it again, turning it once."),
    "crashed": N_("The file took too long or too much memory to read. Please take another."),
    "queue full": N_("Many fruits are waiting. Please send this one again in a few seconds."),
    "reference": N_("The reference fruits could not be changed."),
    "stopped": N_("The work stopped without a reason. Please start it again."),
    "training": N_("The training failed. Nothing was changed; the grader in use goes on."),
    "too few": N_("There are too few fruits with an expert's grade to train with."),
    "other upload": N_("This key is that of an upload of another file. Please send it anew."),
    "bad details": N_("A field holds no number that makes sense. Please correct it."),
    "no practice": N_(
        "There are too few fruits to practise on. Grade fruits and give verdicts, or wait until "
        "the reference fruits are prepared."
    ),
    "no tests": N_(
        "There are too few fruits for tests; those that were asked in practice do not count. Add "
        "fruits with an agreed grade, or make the tests shorter."
    ),
    "preparing": N_(
        "Fruits are still being prepared, so that tests would be made of the first ones alone. "
        "Please come back in a few minutes."
    ),
    "tests begun": N_("Somebody has begun a test, so the tests stay as they are."),
    "arm fixed": N_("This participant has begun. Participants are assigned before their pre-test."),
    "no test now": N_("This test cannot be taken now. Please practise first, or come back later."),
    "no proposal": N_(
        "No fruit can be proposed that way. Please choose another way, or choose by hand."
    ),
    "fruits of session": N_("A session has 1 to 100 fruits. Please choose fewer, or some."),
    "nothing graded": N_(
        "Nobody has graded a fruit of this session yet. Please wait for the graders."
    ),
    "graded already": N_(
        "Somebody has graded a fruit of this session. Please reveal it to end it."
    ),
    "grade first": N_("You are asked for the grade of this fruit first. Please give it there."),
    "not to be shown": N_(
        "This fruit may not be shown here: the experts must agree on its grade, that grade must "
        "allow for it, and nobody may be asked for it in a test or a session."
    ),
    "too late": N_("The session has been revealed; this grade came too late."),
    "other session": N_("The session that this grade is of was cancelled; the grade is not taken."),
    "asked no more": N_(
        "This fruit is not asked any more; the answer is not taken. Please load the page again."
    ),
    "settled since": N_(
        "Somebody else has changed what was settled for this fruit. Please go back and load the "
        "page again."
    ),
    "not leader": N_("The session is led by somebody else. Please ask them to reveal it."),
}
"""Code -> what is wrong and what to do."""

_NUMBERS = {"weight": N_("Weight"), "diameter": N_("Diameter"), "brix": N_("Sugar (Brix)")}
_NO_NUMBER = N_("%(field)s: “%(value)s” is no number.")
_NO_SUCH = N_("%(field)s: “%(value)s” cannot be right. Please give 0 to %(most)s.")


class Refusal(MezoroiError):  # noqa: N818
    """What a user asks for cannot be done now.

    Attributes
    ----------
    code : a key of `PROBLEMS`
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(detail)
        self.code = code


class UploadProblem(Exception):  # noqa: N818
    """An upload that is refused.

    Attributes
    ----------
    code : a key of `PROBLEMS`
    status : HTTP status
    detail : a technical line, in English
    """

    def __init__(self, code: str, status: int, detail: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.status = status
        self.detail = detail


class BadNumber(UploadProblem):
    """A field of a form that holds no number, or one that no fruit has.

    Attributes
    ----------
    field : its name
    value : what stands there
    most : the largest that it may hold; None where it holds no number
    """

    def __init__(self, field: str, value: str, most: float | None = None) -> None:
        super().__init__("bad details", 422)
        self.field = field
        self.value = value
        self.most = most

    def told(self, words: Catalogue) -> str:
        """What is wrong, in the language of the words."""
        text = words.gettext(_NO_NUMBER if self.most is None else _NO_SUCH)
        most = "" if self.most is None else f"{self.most:g}"
        name = words.gettext(_NUMBERS[self.field])
        return text % {"field": name, "value": self.value, "most": most}
