//! The operator on its worst day: what fails is said on the object that it concerns, everything else goes on,
//! no Secret is wiped or half-written, nothing is lost.

mod cluster;
mod kills;
mod outages;
mod rights;
mod vault;
mod world;
