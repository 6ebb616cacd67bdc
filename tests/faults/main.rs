// SPDX-License-Identifier: MPL-2.0

//! What goes wrong around the elements, by area, and what becomes of it; `docs/reliability.md` lists these tests.

#[path = "../common/mod.rs"]
mod common;

mod environment;
mod hostile;
mod life;
mod media;
mod table;
mod timing;
