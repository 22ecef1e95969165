//! The dashboard in a real browser, in front of the built program.
//!
//! Without Chromium these tests are skipped, and what needs axe or html-validate without those. `CI_TOOLS`, the folder that
//! `.ci/tools` prints, has both, and with it nothing is skipped.

mod chromium;
mod page;
mod scene;

mod acting;
mod every_page;
mod keyboard;
mod live;
mod tokens;
