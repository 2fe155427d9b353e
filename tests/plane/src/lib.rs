//! A real control plane and a real Vault-compatible server on loopback, for tests and for trying
//! things out (`cargo xtask plane up`).

pub mod bench;
pub mod certificates;
pub mod cluster;
mod control_plane;
mod openbao;
mod operator;
pub mod ports;
pub mod process;

pub use control_plane::ControlPlane;
pub use openbao::OpenBao;
pub use operator::Operator;
