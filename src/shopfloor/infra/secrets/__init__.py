"""Secrets at rest: each organization's under a data key of its own, the data keys under a master key.

Read `port` first (who seals, who keeps the master key), then `envelope`, `data_keys`, `rotation`. The keepers of master
keys beyond this machine are in `infra/secret_stores`.
"""

from shopfloor.infra.secrets.derived import MasterKeySealer
from shopfloor.infra.secrets.master_key import load_master_key
from shopfloor.infra.secrets.port import SealBroken, Sealer

__all__ = ["MasterKeySealer", "SealBroken", "Sealer", "load_master_key"]
