// SPDX-License-Identifier: MPL-2.0
//! The inputs and outputs of a graph, as far as a description can be checked against them.

use std::fmt;

use ort::{
    session::Session,
    value::{Outlet, TensorElementType, ValueType},
};

/// One input or output: its element type and its shape, `None` for an axis of any length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The name in the graph.
    pub name: String,
    /// What each value is.
    pub element: Element,
    /// The lengths of the axes.
    pub shape: Vec<Option<usize>>,
    /// The name of axis 0, if it is of any length and has one.
    pub symbol: Option<String>,
}

/// The element types that models use here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Element {
    /// 32-bit floats.
    Float32,
    /// Bytes.
    Uint8,
    /// Any other, by its name.
    Other(String),
}

/// All inputs and outputs, in the graph's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// The inputs.
    pub inputs: Vec<Port>,
    /// The outputs.
    pub outputs: Vec<Port>,
}

impl From<&Session> for Graph {
    fn from(session: &Session) -> Self {
        let ports = |outlets: &[Outlet]| outlets.iter().map(Port::from).collect();
        Self {
            inputs: ports(session.inputs()),
            outputs: ports(session.outputs()),
        }
    }
}

impl From<&Outlet> for Port {
    fn from(outlet: &Outlet) -> Self {
        let (element, shape, symbol) = match outlet.dtype() {
            ValueType::Tensor {
                ty,
                shape,
                dimension_symbols,
            } => {
                let element = match ty {
                    TensorElementType::Float32 => Element::Float32,
                    TensorElementType::Uint8 => Element::Uint8,
                    other => Element::Other(other.to_string()),
                };
                let axis = |&length: &i64| usize::try_from(length).ok();
                let symbol = dimension_symbols.first().filter(|name| !name.is_empty());
                (element, shape.iter().map(axis).collect(), symbol.cloned())
            }
            _ => (Element::Other("not a tensor".into()), Vec::new(), None),
        };
        Self {
            name: outlet.name().into(),
            element,
            shape,
            symbol,
        }
    }
}

impl Port {
    /// Whether a tensor of this element type and shape (`None`: any length) is the same port.
    pub fn takes(&self, element: &Element, shape: &[Option<usize>]) -> bool {
        self.element == *element
            && self.shape.len() == shape.len()
            && self
                .shape
                .iter()
                .zip(shape)
                .all(|pair| !matches!(pair, (Some(ours), Some(theirs)) if ours != theirs))
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float32 => f.write_str("float32"),
            Self::Uint8 => f.write_str("uint8"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// `mel` float32 [any, 1, 96, 1366]
impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let axes: Vec<String> = self
            .shape
            .iter()
            .map(|axis| axis.map_or("any".into(), |length| length.to_string()))
            .collect();
        write!(f, "`{}` {} [{}]", self.name, self.element, axes.join(", "))
    }
}
