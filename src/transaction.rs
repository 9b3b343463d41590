//! The only sequencing of effects; knows no daemon.
