//! What a resolved cluster means to people: the matrix and its reasons, connection strings, drawings, and where ports lead
//! in a given state. Texts and JSON only; nothing is resolved and nothing is printed here.

pub mod connect;
pub mod dot;
pub mod matrix;
pub mod mermaid;
pub mod simulate;
pub mod svg;
#[cfg(test)]
mod tests;
pub mod view;
pub mod why;

pub use view::Drawing;
