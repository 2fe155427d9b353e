//! SecretStore and ClusterSecretStore (External Secrets, spec sections 1.3, 2.10, 3).
