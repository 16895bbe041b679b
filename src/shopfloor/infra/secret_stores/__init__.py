"""Who keeps the master key: this machine, HashiCorp Vault or OpenBao, AWS. `choose.open_master_keys` is the door.

A keeper either wraps keys itself and never gives its own away (`transit`, `kms`), or stores a ring of master keys that
this process wraps with (`ring` over a file, a setting, Vault's KV, AWS Secrets Manager).
"""
