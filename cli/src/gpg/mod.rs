//! OpenPGP through the user's GnuPG.

pub(crate) mod home;
