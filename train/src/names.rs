//! Tensors by the names of the PyTorch release: what is read, written and initialised goes through here.
//!
//! A name is the path of the field in the module, with two exceptions: the generation head is a numbered
//! sequence there (`lm_head.0`, `lm_head.1`), and `logit_scale` has no dimension where Burn wants one.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData};

use crate::init::fnv1a;

/// The one tensor whose shape is `[]` in files and `[1]` here.
pub const LOGIT_SCALE: &str = "logit_scale";

/// A tensor on the host, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// Stable over processes, so that an optimiser's record finds its parameter again.
pub fn id(name: &str) -> ParamId {
    ParamId::from(fnv1a(name))
}

/// Names and shapes in module order, without making a tensor.
pub fn shapes<M: Module>(module: &M) -> Vec<(String, Vec<usize>)> {
    let mut shapes = Shapes::default();
    module.visit(&mut shapes);
    shapes.found
}

/// Every tensor in module order, copied to the host.
pub fn tensors<M: Module>(module: &M) -> Vec<Named> {
    let mut found = Vec::new();
    for_each(module, |tensor| found.push(tensor));
    found
}

/// The same one at a time.
pub fn for_each<M: Module>(module: &M, each: impl FnMut(Named)) {
    module.visit(&mut Copies {
        path: Path::default(),
        each,
    });
}

/// Gives every parameter the values that `values` returns for its name and shape, and its id.
///
/// The first error ends it; a wrong number of values is a bug of the caller.
pub fn fill<M: Module, E>(
    module: M,
    values: impl FnMut(&str, &[usize]) -> Result<Vec<f32>, E>,
) -> Result<M, E> {
    let mut fill = Fill {
        path: Path::default(),
        values,
        error: None,
    };
    let module = module.map(&mut fill);
    match fill.error {
        Some(error) => Err(error),
        None => Ok(module),
    }
}

/// The shape under which a tensor is known outside.
fn public_shape(name: &str, shape: &[usize]) -> Vec<usize> {
    if name == LOGIT_SCALE {
        Vec::new()
    } else {
        shape.to_vec()
    }
}

/// Where a walk through a module is.
#[derive(Default)]
pub(crate) struct Path(Vec<String>);

impl Path {
    pub(crate) fn enter(&mut self, field: &str) {
        self.0.push(field.to_owned());
    }

    pub(crate) fn leave(&mut self) {
        self.0.pop();
    }

    pub(crate) fn name(&self) -> String {
        let path = self.0.join(".");
        match path
            .strip_prefix("lm_head.")
            .and_then(|rest| rest.split_once('.'))
        {
            Some(("norm", leaf)) => format!("lm_head.0.{leaf}"),
            Some(("proj", leaf)) => format!("lm_head.1.{leaf}"),
            _ => path,
        }
    }
}

#[derive(Default)]
struct Shapes {
    path: Path,
    found: Vec<(String, Vec<usize>)>,
}

impl ModuleVisitor for Shapes {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.leave();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.name();
        let shape = public_shape(&name, param.lazy_shape().as_slice());
        self.found.push((name, shape));
    }
}

struct Copies<F> {
    path: Path,
    each: F,
}

impl<F: FnMut(Named)> ModuleVisitor for Copies<F> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.leave();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.name();
        let tensor = param.val();
        let shape = public_shape(&name, &tensor.dims());
        (self.each)(Named {
            name,
            shape,
            values: host(tensor),
        });
    }
}

/// A float tensor's values in row-major order.
pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .try_into_vec_as::<f32>()
        .expect("float tensors are readable on the host")
}

struct Fill<F, E> {
    path: Path,
    values: F,
    error: Option<E>,
}

impl<F, E> ModuleMapper for Fill<F, E>
where
    F: FnMut(&str, &[usize]) -> Result<Vec<f32>, E>,
{
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.leave();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.error.is_some() {
            return param;
        }
        let name = self.path.name();
        let (shape, device) = (param.lazy_shape(), param.lazy_device());
        match (self.values)(&name, &public_shape(&name, shape.as_slice())) {
            Ok(values) => {
                let tensor = Tensor::from_data(TensorData::new(values, shape), &device);
                // Recorded on a plain device too: it takes effect when the module is put to training.
                Param::initialized(id(&name), tensor).set_require_grad(true)
            }
            Err(error) => {
                self.error = Some(error);
                param
            }
        }
    }
}
