"""Actions that people do; Mainstay asks, and writes down who answered what and when."""

from typing import ClassVar, Literal

from pydantic import Field

from automation.model.actions.base import BaseAction, Effect


class Confirm(BaseAction):
    """Write down that a person has done or decided something; the step's gate asks them."""

    do: Literal["people.confirm"] = "people.confirm"
    effect: ClassVar[Effect] = "read"
    of: Literal["task", "call", "decision", "sign-off"]
    task: str
    expect: str = Field(default="", description="what they see when it is done")
    takes_s: float | None = Field(default=None, description="how long it usually takes")


class Inject(BaseAction):
    """Tell the players of a tabletop what happens, and write down what they do about it."""

    do: Literal["people.inject"] = "people.inject"
    effect: ClassVar[Effect] = "read"
    at_s: float = Field(ge=0, description="on the clock of the story")
    event: str
    to: str = Field(description="role that is told")
    expect: str = Field(description="what they should do about it")
    plan_says: tuple[str, ...] = Field(default=(), description="the steps of the plan that this is about")


class AskPlayers(BaseAction):
    """Ask everybody at the table, and write down what they say."""

    do: Literal["people.ask_players"] = "people.ask_players"
    effect: ClassVar[Effect] = "read"
    about: Literal["attendance", "open-questions"]
    question: str
    exercised: str = Field(default="", description="the plan they have before them, by its digest")
