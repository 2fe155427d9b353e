//! The objects of all kinds that are served, as watches last told.

use crate::api::external_secrets::{ClusterExternalSecret, ClusterSecretStore, ExternalSecret, SecretStore};
use crate::api::vault_secrets::{SecretTransformation, VaultAuth, VaultAuthGlobal, VaultConnection, VaultStaticSecret};
use crate::api::{Kind, Object};
use crate::engine::watch::Mirror;
use crate::families::Served;

macro_rules! mirrors {
    ($($field:ident: $kind:ident),* $(,)?) => {
        /// One mirror for each kind.
        #[derive(Debug, Default)]
        #[expect(missing_docs, reason = "the fields are the kinds")]
        pub struct Mirrors {
            $(pub $field: Mirror<Object<$kind>>,)*
        }

        impl Mirrors {
            /// Waits until every kind that is served is known.
            pub async fn whole(&self, served: &Served) {
                $(if served.resource::<$kind>().is_some() {
                    self.$field.whole().await;
                })*
            }
        }

        $(impl Mirrored for $kind {
            fn of(mirrors: &Mirrors) -> &Mirror<Object<Self>> {
                &mirrors.$field
            }
        })*
    };
}

/// A kind that is mirrored.
pub trait Mirrored: Kind {
    /// Its mirror.
    fn of(mirrors: &Mirrors) -> &Mirror<Object<Self>>;
}

mirrors! {
    external_secrets: ExternalSecret,
    secret_stores: SecretStore,
    cluster_secret_stores: ClusterSecretStore,
    cluster_external_secrets: ClusterExternalSecret,
    vault_static_secrets: VaultStaticSecret,
    vault_connections: VaultConnection,
    vault_auths: VaultAuth,
    vault_auth_globals: VaultAuthGlobal,
    secret_transformations: SecretTransformation,
}
