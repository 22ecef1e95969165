//! The built program as a process, in real time: signals, crashes, locks, disks, and everything an operator gets wrong.

mod exposition;
mod house;
mod privilege;
mod program;

mod stopping;

mod backup;
mod browser;
mod damage;
mod disk;
mod events;
mod json;
mod kills;
mod locked;
mod logging;
mod manager;
mod metrics;
mod mfa;
mod refusing;
mod reload;
mod secrets;
mod shortage;
mod status;
mod watching;
