//! VaultAuth, VaultAuthGlobal and VaultConnection (Vault Secrets, spec sections A.2, A.3).
