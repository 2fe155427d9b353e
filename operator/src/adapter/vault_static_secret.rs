//! VaultStaticSecret (Vault Secrets, spec section A.4).
