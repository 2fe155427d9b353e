//! OpenPGP through the user's GnuPG.

#[cfg(unix)]
mod agent;
#[cfg(unix)]
mod assuan;
mod program;
#[cfg(unix)]
mod sexp;
#[cfg(unix)]
mod socket;
