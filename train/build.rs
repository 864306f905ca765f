//! With `--features tch`: finds LibTorch, compiles what `tch` does not bind, and makes the program find its libraries.
//!
//! `tch` finds LibTorch by itself and by the same rules, but says nothing useful where there is none, and neither its
//! rpath nor its "link this even if nothing seems to need it" reaches a program that depends on it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "tch")]
    libtorch::link();
}

#[cfg(feature = "tch")]
mod libtorch {
    use std::env;
    use std::path::{Path, PathBuf};
    use std::process::{Command, exit};

    const KERNELS: &str = "src/ops/native.cpp";
    /// The minor release whose C++ interface the kernels and `tch` 0.22 were built and tested with.
    const TESTED: &str = "2.11.";

    struct LibTorch {
        version: Option<String>,
        cxx11_abi: String,
        includes: Vec<PathBuf>,
        lib: PathBuf,
    }

    pub(super) fn link() {
        println!("cargo:rerun-if-changed={KERNELS}");
        let found = find().unwrap_or_else(|reason| {
            eprintln!("error: {reason}");
            exit(1)
        });
        if let Some(version) = found.version.filter(|version| !version.starts_with(TESTED)) {
            println!(
                "cargo:warning=LibTorch {version} was found; {TESTED}0 is what this was tested with"
            );
        }
        cc::Build::new()
            .cpp(true)
            .std("c++17")
            .warnings(false)
            .includes(&found.includes)
            .define("_GLIBCXX_USE_CXX11_ABI", found.cxx11_abi.as_str())
            .file(KERNELS)
            .compile("lcl_native");
        let lib = found.lib.display();
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
        // The CUDA library registers itself when it is loaded; no symbol of it is named, so a linker that drops what
        // is not needed would leave a program without a GPU.
        println!("cargo:rustc-link-arg=-Wl,--no-as-needed");
        let cuda = found.lib.join("libtorch_cuda.so").exists();
        if cuda {
            println!("cargo:rustc-env=LCL_LIBTORCH_CUDA=1");
        }
        for library in
            ["torch_cuda"]
                .into_iter()
                .filter(|_| cuda)
                .chain(["torch", "torch_cpu", "c10"])
        {
            println!("cargo:rustc-link-arg=-l{library}");
        }
        println!("cargo:rustc-link-arg=-Wl,--as-needed");
    }

    fn set(name: &str) -> Option<String> {
        println!("cargo:rerun-if-env-changed={name}");
        env::var(name).ok()
    }

    /// The Python wheel where `LIBTORCH_USE_PYTORCH` is set, as `.cargo/config.toml` does; else the folder `LIBTORCH`.
    fn find() -> Result<LibTorch, String> {
        if set("LIBTORCH_USE_PYTORCH").is_some() {
            let found = wheel();
            if set("LIBTORCH").is_none() {
                return found;
            }
            // Cargo reads the setting in this folder, whatever the environment says.
            let ignored = "LIBTORCH is set and not used: .cargo/config.toml asks for the Python wheel; build from outside of this folder with --manifest-path";
            println!("cargo:warning={ignored}");
            return found.map_err(|reason| format!("{reason}; {ignored}"));
        }
        match set("LIBTORCH") {
            Some(folder) => unpacked(Path::new(&folder)),
            None => Err("the feature `tch` needs LibTorch: `pip install torch==2.11.0` and LIBTORCH_USE_PYTORCH=1, or LIBTORCH=<its folder>".to_owned()),
        }
    }

    fn wheel() -> Result<LibTorch, String> {
        set("VIRTUAL_ENV");
        set("PATH");
        let python = if env::var_os("VIRTUAL_ENV").is_some() {
            "python"
        } else {
            "python3"
        };
        let script = "import torch; from torch.utils import cpp_extension as c; print(torch.__version__); print(int(torch._C._GLIBCXX_USE_CXX11_ABI)); print(c.library_paths()[0]); print('\\n'.join(c.include_paths()))";
        let output = Command::new(python)
            .args(["-c", script])
            .output()
            .map_err(|error| format!("the feature `tch` asks `{python}` where LibTorch is, and it does not start: {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let mut lines = said.lines();
        match (lines.next(), lines.next(), lines.next()) {
            (Some(version), Some(cxx11_abi), Some(lib)) => Ok(LibTorch {
                version: Some(version.to_owned()),
                cxx11_abi: cxx11_abi.to_owned(),
                includes: lines.map(PathBuf::from).collect(),
                lib: lib.into(),
            }),
            _ => {
                let complaint = String::from_utf8_lossy(&output.stderr);
                let last = complaint.lines().last().unwrap_or("it says nothing");
                Err(format!(
                    "the feature `tch` needs LibTorch, and `{python}` cannot import it ({last}): run `pip install torch==2.11.0` with that Python first"
                ))
            }
        }
    }

    fn unpacked(folder: &Path) -> Result<LibTorch, String> {
        let includes = folder.join("include");
        if !includes.join("ATen/ATen.h").exists() {
            return Err(format!(
                "LIBTORCH={} holds no include/ATen/ATen.h: name the folder that LibTorch was unpacked into",
                folder.display()
            ));
        }
        Ok(LibTorch {
            version: std::fs::read_to_string(folder.join("build-version")).ok(),
            cxx11_abi: set("LIBTORCH_CXX11_ABI").unwrap_or_else(|| "1".to_owned()),
            includes: vec![includes.clone(), includes.join("torch/csrc/api/include")],
            lib: folder.join("lib"),
        })
    }
}
