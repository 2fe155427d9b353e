//! The kinds of `external-secrets.io` (External Secrets, spec section 1).
