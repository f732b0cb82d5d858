"""Every error that Gatewright raises on purpose: it names the user's object, what was expected, what came, and what
to do."""


class GatewrightError(Exception):
    """A wrong use, said in a way that helps.

    `problem` names the user's object and what is wrong with it; `expected`, `got` and `do` follow on lines of their
    own. `shell` is what to do instead where a command says it: options of the command, and no Python.
    """

    def __init__(
        self,
        problem: str,
        *,
        expected: str | None = None,
        got: str | None = None,
        do: str | None = None,
        shell: str | None = None,
    ) -> None:
        self.problem = problem
        self.expected = expected
        self.got = got
        self.do = do
        self.shell = shell
        super().__init__(self._text(do))

    def locate(self, where: str) -> None:
        """Put the place, such as a file, before the problem."""
        self.problem = f"{where}: {self.problem}"
        self.args = (self._text(self.do),)

    def in_shell(self) -> str:
        """The message as a command shows it."""
        return self._text(self.shell or self.do)

    def _text(self, do: str | None) -> str:
        parts = (("expected", self.expected), ("got", self.got), ("do", do))
        return "\n".join([self.problem, *(f"  {label}: {text}" for label, text in parts if text)])


class CellError(GatewrightError, TypeError):
    """A cell whose signature or equations cannot be understood; names the cell, the file and the line."""


class TraceError(GatewrightError, ValueError):
    """A Trace, or the text of one, that breaks a rule of the language."""


class ShapeError(GatewrightError, ValueError, RuntimeError):
    """An array whose shape, dtype or device does not fit the layer or reference that it was given to.

    torch.nn raises ValueError for some of these and RuntimeError for others: programs that catch either go on working.
    """


class OptionError(GatewrightError, ValueError):
    """An option with a value that it cannot take."""


class OptionTypeError(OptionError, TypeError):
    """An option of a type that it cannot have."""


class DataError(GatewrightError, ValueError):
    """A data set or file that is missing, corrupt or not what it was said to be."""


class ModelFileError(GatewrightError, ValueError):
    """A model file that is cut short, has wrong shapes, comes from a later version, or is not ours."""


class WriteError(GatewrightError, OSError):
    """A file that cannot be written: the disk is full, or nobody may write there; says which file."""


class NonFiniteError(GatewrightError, ArithmeticError):
    """A loss, gate or gradient that is not finite; says where it began."""


class ConversionError(GatewrightError, ValueError):
    """Weights that cannot be moved exactly, with the reason; or a file of weights that is not what it should be."""


class ConvergenceError(GatewrightError, ArithmeticError):
    """An iteration that did not come within its tolerance; says how far it came, and what to run instead."""
