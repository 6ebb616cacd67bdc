// SPDX-License-Identifier: MPL-2.0

//! A model run with nothing but ONNX Runtime: what the plugin's speed is compared with.

use std::{borrow::Cow, path::PathBuf, time::Instant};

use anyhow::{Context, Result};
use gstinstruments::model::Provider;
use ort::{
    environment::Environment,
    ep,
    memory::Allocator,
    session::{Session, SessionInputValue},
    value::{DynTensor, TensorElementType, ValueType},
};

#[derive(clap::Args)]
pub struct Args {
    /// The ONNX file
    pub model: PathBuf,
    /// What runs it
    #[arg(value_parser = crate::provider)]
    pub provider: Provider,
    /// Which GPU
    pub device: u32,
    /// Items in a batch
    pub batch: usize,
    /// For how long
    pub seconds: f64,
    /// Whether TensorRT computes in 16-bit floats
    #[arg(long)]
    pub half: bool,
}

impl Args {
    /// The arguments by which this program runs it.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            "bare".to_owned(),
            self.model.display().to_string(),
            self.provider.as_str().to_owned(),
            self.device.to_string(),
            self.batch.to_string(),
            self.seconds.to_string(),
        ];
        arguments.extend(self.half.then(|| "--half".to_owned()));
        arguments
    }
}

/// The model as ONNX Runtime opens it with no more than the provider, the GPU and the precision.
fn open(args: &Args, environment: &Environment) -> ort::Result<Session> {
    let device = i32::try_from(args.device).unwrap_or(i32::MAX);
    let cuda = ep::CUDA::default().with_device_id(device).build();
    let builder = Session::builder(environment)?;
    let mut builder = match args.provider {
        Provider::Cuda => builder.with_execution_providers([cuda.error_on_failure()])?,
        Provider::TensorRt => {
            let tensorrt = ep::TensorRT::default()
                .with_device_id(device)
                .with_fp16(args.half)
                .build();
            builder.with_execution_providers([tensorrt.error_on_failure(), cuda])?
        }
        _ => builder,
    };
    builder.commit_from_file(&args.model)
}

pub fn run(args: &Args) -> Result<()> {
    let runtime = std::env::var_os("ORT_DYLIB_PATH").context("ORT_DYLIB_PATH is not set")?;
    gstinstruments::model::disable_telemetry();
    let environment = ort::init_from(&runtime)?.build()?;
    args.provider.find_library(runtime.as_ref())?;
    let mut session = open(args, &environment)?;
    let inputs: Vec<(String, DynTensor)> = session
        .inputs()
        .iter()
        .map(|input| {
            let ValueType::Tensor { ty, shape, .. } = input.dtype() else {
                anyhow::bail!("the input {} is no tensor", input.name());
            };
            let batch = args.batch as i64;
            let shape: Vec<i64> = shape
                .iter()
                .map(|length| if *length < 0 { batch } else { *length })
                .collect();
            let mut tensor = DynTensor::new(&Allocator::default(), *ty, shape)?;
            // What the values are makes no difference to the speed.
            match ty {
                TensorElementType::Uint8 => tensor.try_extract_tensor_mut::<u8>()?.1.fill(7),
                _ => tensor.try_extract_tensor_mut::<f32>()?.1.fill(7.0),
            }
            Ok((input.name().to_owned(), tensor))
        })
        .collect::<Result<_>>()?;
    let mut run = || -> Result<()> {
        let values: Vec<(Cow<str>, SessionInputValue)> = inputs
            .iter()
            .map(|(name, tensor)| (name.into(), tensor.into()))
            .collect();
        session.run(values)?;
        Ok(())
    };
    for _ in 0..3 {
        run()?;
    }
    let started = Instant::now();
    let mut runs = 0;
    while started.elapsed().as_secs_f64() < args.seconds {
        run()?;
        runs += 1;
    }
    let rate = (runs * args.batch) as f64 / started.elapsed().as_secs_f64();
    println!("{rate}");
    Ok(())
}
