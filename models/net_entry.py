"""How a net is registered: a settings class under one ``@net`` line (see ``models.registry``)."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, TypeVar

from common.errors import InputError
from common.options import OptionGroup


@dataclass(frozen=True, kw_only=True)
class NetSettings(OptionGroup):
    """Base of the nets' options."""

    section: ClassVar[str] = "Model"
    name_prefixes: ClassVar[dict[str, str]] = {}  # of the options always in a run's name

    @staticmethod
    def check_rank(rank: int, kernel: int) -> None:
        """Raise ``InputError`` for a ``rank`` above ``kernel`` squared, the weights of a kernel."""
        if rank > kernel**2:
            raise InputError(
                f"--rank {rank}: must be at most {kernel**2}, the kernel size squared, for example "
                "--rank 1"
            )

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the net, where rank 0 stands for full convs."""
        arguments = asdict(self)
        if arguments.pop("conv", "select") == "full":
            arguments["rank"] = 0
        return arguments

    def validate(self, size: tuple[int, int]) -> None:
        """Check the options against each other and the image size. Raises ``InputError``."""


@dataclass(frozen=True)
class NetEntry:
    """A registered net: ``path`` is ``module:constructor``; ``defaults`` differ from the options'.

    ``defaults`` hold for this command's options of any group.
    """

    name: str
    path: str
    task: str  # "restoration" or "classification"
    settings: type[NetSettings]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    fitted: bool = False  # fitted in one step instead of trained
    sized: bool = False  # its constructor takes the images' size, (height, width)


NETS: dict[str, NetEntry] = {}
_Settings = TypeVar("_Settings", bound=type[NetSettings])


def net(name: str, path: str, task: str, **about: Any) -> Callable[[_Settings], _Settings]:
    """Register the decorated settings class as the command ``name``; see ``NetEntry``."""

    def register(cls: _Settings) -> _Settings:
        NETS[name] = NetEntry(name, path, task, cls, **about)
        return cls

    return register


def per_layer(
    name: str, rule: Callable[[int | str, int], list[int]], spec: int | str, layers: int
) -> list[int]:
    """``rule(spec, layers)``; its ``ValueError`` becomes an ``InputError`` naming the option."""
    try:
        return rule(spec, layers)
    except ValueError as error:
        example = "3:9" if name == "ks" else "32"
        raise InputError(f"--{name} {spec}: {error}, for example --{name} {example}") from None


def command_of(config: Mapping[str, Any]) -> str:
    """The command of a run's config; commit 73bab81 called it the task."""
    return str(config.get("command") or config.get("task"))
