"""What the mathematics refuses on purpose; each also is the builtin error that a caller would catch.

ModelError
CheckpointError (ValueError)       a saved folder is not what it should be
MissingWeights (FileNotFoundError) pretrained weights or their library are absent: which, and how to get them
└── WrongWeights                   a file is there, but damaged or of another network
DeviceError (ValueError)           a network shall run where there is no such device
TrainingError (ArithmeticError)    the loss stopped being a number: epoch, step and cure
"""


class ModelError(Exception):
    """Base of the tree: the command line prints its message without a traceback."""


class CheckpointError(ModelError, ValueError):
    """A saved classifier or quantizer cannot be read: unknown format version, wrong kind or missing arrays."""


class MissingWeights(ModelError, FileNotFoundError):  # noqa: N818 - the name states what is wrong
    """Pretrained weights, or the library that runs them, are absent; the message names them and how to get them."""


class WrongWeights(MissingWeights):
    """A weight file exists, but its digest or shape differs from the expected one; the message names it."""


class DeviceError(ModelError, ValueError):
    """The device a network should run on is not available; the message lists those that are."""


class TrainingError(ModelError, ArithmeticError):
    """The loss became infinite or NaN; the message states where, and what to lower."""
