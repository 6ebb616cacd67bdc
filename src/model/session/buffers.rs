// SPDX-License-Identifier: MPL-2.0
//! The memory that inputs and outputs of one shape go through, allocated once and bound to the session.

use ort::{
    session::{IoBinding, RunOptions, Session},
    value::{DynTensor, PrimitiveTensorElementType, TensorElementType},
};

use crate::model::provider::Memory;

/// An input's or output's name, element type and shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    pub name: String,
    pub element: TensorElementType,
    pub shape: Vec<usize>,
}

/// The inputs and outputs of one shape.
#[derive(Debug)]
pub struct Buffers {
    binding: IoBinding,
    inputs: Vec<Buffer>,
    outputs: Vec<Buffer>,
}

#[derive(Debug)]
struct Buffer {
    name: String,
    host: DynTensor,
    device: Option<DynTensor>,
}

impl Buffer {
    fn new(memory: &Memory, tensor: &Tensor) -> ort::Result<Self> {
        let new = |allocator| DynTensor::new(allocator, tensor.element, tensor.shape.clone());
        Ok(Self {
            name: tensor.name.clone(),
            host: new(&memory.host)?,
            device: memory.device.as_ref().map(new).transpose()?,
        })
    }
}

impl Buffers {
    /// Allocates and binds them. Their contents are arbitrary.
    ///
    /// # Errors
    /// ONNX Runtime's, such as no memory left.
    pub fn new(
        session: &Session,
        memory: &Memory,
        inputs: &[Tensor],
        outputs: &[Tensor],
    ) -> ort::Result<Self> {
        let buffers = |tensors: &[Tensor]| -> ort::Result<Vec<Buffer>> {
            tensors
                .iter()
                .map(|tensor| Buffer::new(memory, tensor))
                .collect()
        };
        let mut buffers = Self {
            binding: session.create_binding()?,
            inputs: buffers(inputs)?,
            outputs: buffers(outputs)?,
        };
        for input in &buffers.inputs {
            if let Some(device) = &input.device {
                buffers.binding.bind_input(&input.name, device)?;
            }
        }
        for output in &mut buffers.outputs {
            let bound = output.device.as_mut().unwrap_or(&mut output.host);
            buffers.binding.bind_output(&output.name, bound)?;
        }
        Ok(buffers)
    }

    /// The values of an input, to be written.
    ///
    /// # Errors
    /// When `T` is not its element type.
    pub fn input<T: PrimitiveTensorElementType>(&mut self, index: usize) -> ort::Result<&mut [T]> {
        let (_, values) = self.inputs[index].host.try_extract_tensor_mut()?;
        Ok(values)
    }

    /// The values of an output of 32-bit floats, as the last [`run`](Self::run) left them.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn output(&self, index: usize) -> ort::Result<&[f32]> {
        let (_, values) = self.outputs[index].host.try_extract_tensor()?;
        Ok(values)
    }

    /// Runs the session on what the inputs hold.
    ///
    /// # Errors
    /// ONNX Runtime's.
    pub fn run(&mut self, session: &mut Session, run: &RunOptions) -> ort::Result<()> {
        for input in &mut self.inputs {
            match &mut input.device {
                Some(device) => input.host.copy_into(device)?,
                // Binding is what copies to the device; on the CPU it only notes the address.
                None => self.binding.bind_input(&input.name, &input.host)?,
            }
        }
        self.binding.synchronize_inputs()?;
        session.run_binding_with_options(&self.binding, run)?;
        self.binding.synchronize_outputs()?;
        for output in &mut self.outputs {
            if let Some(device) = &output.device {
                device.copy_into(&mut output.host)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ort::{memory::Allocator, value::Tensor as OrtTensor};

    use super::*;
    use crate::model::runtime;

    /// Memory of the CPU that plays the device's: the data goes the way it goes with CUDA graphs.
    fn fixed() -> Memory {
        Memory {
            host: Allocator::default(),
            device: Some(Allocator::default()),
        }
    }

    #[test]
    fn both_ways_give_what_an_unbound_run_gives() {
        let root = env!("CARGO_MANIFEST_DIR");
        let runtime = runtime::of_this_tree();
        let mut session = Session::builder(&runtime.environment)
            .unwrap()
            .commit_from_file(format!("{root}/tests/data/models/audio.onnx"))
            .unwrap();
        let tensor = |name: &str, shape: &[usize]| Tensor {
            name: name.into(),
            element: TensorElementType::Float32,
            shape: shape.into(),
        };
        let run = RunOptions::new().unwrap();
        let inputs = [tensor("mel", &[2, 1, 4, 8])];
        let outputs = [tensor("tags", &[2, 3]), tensor("embedding", &[2, 4])];
        for memory in [Memory::default(), fixed()] {
            let mut buffers = Buffers::new(&session, &memory, &inputs, &outputs).unwrap();
            for offset in [0.0, 5.0] {
                let values: Vec<f32> = (0..64).map(|value| value as f32 / 64.0 + offset).collect();
                let expected: Vec<Vec<f32>> = {
                    let shape = [2_usize, 1, 4, 8];
                    let value = OrtTensor::from_array((shape, values.clone())).unwrap();
                    let outputs = session.run(ort::inputs!["mel" => value]).unwrap();
                    ["tags", "embedding"]
                        .map(|name| outputs[name].try_extract_tensor().unwrap().1.to_vec())
                        .into()
                };
                buffers.input(0).unwrap().copy_from_slice(&values);
                buffers.run(&mut session, &run).unwrap();
                assert_eq!(buffers.output(0).unwrap(), expected[0]);
                assert_eq!(buffers.output(1).unwrap(), expected[1]);
            }
        }
    }
}
