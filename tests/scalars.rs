//! xxxxxxxxxx
