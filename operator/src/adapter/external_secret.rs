//! ExternalSecret (External Secrets, spec section 2).
