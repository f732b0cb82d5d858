"""The path at which the documentation gave `LogMel` before `gatewright.tasks.data` did."""

from gatewright.tasks.data.sounds.log_mel import LogMel

__all__ = ["LogMel"]
