//! The built program as a process, in real time: signals, crashes, locks, disks, and everything an operator gets wrong.

mod house;
mod program;

mod start;
mod stopping;

mod backup;
mod damage;
mod disk;
mod kills;
mod locked;
mod refusing;
mod reload;
mod secrets;
