import os
import re
import signal

import pytest

from algorithmic_efficiency import cli, registry
from algorithmic_efficiency.errors import RunInterrupted, UsageError
from algorithmic_efficiency.flags import table
from algorithmic_efficiency.runner import study

# The public runner's flags with their defaults where ours are the same.
PUBLIC = {
    "submission_path": None,
    "workload": None,
    "framework": None,
    "experiment_dir": "./experiments",
    "experiment_name": None,
    "tuning_ruleset": "external",
    "tuning_search_space": None,
    "num_tuning_trials": 1,
    "data_dir": "~/data",
    "imagenet_v2_data_dir": None,
    "librispeech_tokenizer_vocab_path": "",
    "torch_compile": None,
    "save_checkpoints": True,
    "save_intermediate_checkpoints": False,
    "resume_last_run": False,
    "append_timestamp": False,
    "overwrite": False,
    "use_wandb": False,
    "profile": False,
    "max_global_steps": None,
    "hparam_start_index": None,
    "hparam_end_index": None,
    "rng_seed": None,
    "set_pytorch_max_split_size": False,
    "pytorch_eval_num_workers": 0,
    "capture_jax_trace": False,
    "skip_evals": False,
    "scale": "auto",
    "num_studies": 1,
}
MINI = "--workload=imagenet_resnet_mini"


def parse(*arguments):
    return cli.parse(["runner", *arguments])


# Parsing.


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_flag_exists_with_its_default(name):
    assert parse()[name] == PUBLIC[name]


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--workload=wmt"], "workload", "wmt"),
        (["--workload", "wmt"], "workload", "wmt"),
        (["-workload=wmt"], "workload", "wmt"),
        (["--workload=a=b"], "workload", "a=b"),
        (["--rng_seed=0"], "rng_seed", 0),
        (["--rng_seed", "17"], "rng_seed", 17),
        (["--overwrite"], "overwrite", True),
        (["--nooverwrite"], "overwrite", False),
        (["--overwrite=true"], "overwrite", True),
        (["--overwrite=False"], "overwrite", False),
        (["--save_checkpoints=false"], "save_checkpoints", False),
        (["--nosave_checkpoints"], "save_checkpoints", False),
        (["--torch_compile"], "torch_compile", True),
        (["--notorch_compile"], "torch_compile", False),
        (["--framework=jax"], "framework", "jax"),
        (["--scale", "mini"], "scale", "mini"),
        (["--rng_seed=1", "--rng_seed=2"], "rng_seed", 2),
    ],
)
def test_forms_of_a_flag(arguments, name, value):
    assert parse(*arguments)[name] == value


def test_parsing_has_no_memory():
    parse("--workload=wmt", "--overwrite")
    assert parse()["workload"] is None
    assert parse()["overwrite"] is False


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--worklod=wmt"], r"(?s)worklod.*[Dd]id you mean.*workload"),
        (["--nooverwite"], "nooverwite"),
        (["--framework=tensorflow"], "tensorflow.*pytorch|jax"),
        (["--scale=huge"], "huge"),
        (["--tuning_ruleset=both"], "both"),
        (["--rng_seed=many"], "rng_seed.*many"),
        (["--rng_seed=1.5"], "1.5"),
        (["--overwrite=perhaps"], "perhaps"),
        (["--workload"], "workload"),
        (["imagenet_resnet"], "Found 'imagenet_resnet', which belongs to no flag"),
        (["--overwrite", "false"], "Found 'false', which belongs to no flag"),
        (["--", "--workload=wmt"], "belongs to no flag"),
    ],
)
def test_what_cannot_be_parsed_is_a_sentence(main, arguments, words):
    code, out, err = main(*arguments)
    assert (code, out) == (2, "")
    assert re.search(words, err)
    assert err.startswith("Error: ") and "Traceback" not in err
    assert err.count("\n") == 1


# Help and list.


@pytest.mark.parametrize("word", ["--help", "-h", "-help", "--helpfull"])
def test_help_names_every_flag_in_its_group(main, word):
    code, out, err = main("--workload=nonsense", word)
    assert (code, err) == (0, "")
    lines = [line.strip() for line in out.splitlines()]
    for group, flags in table().items():
        assert f"{group}:" in lines
        for flag in flags:
            pattern = rf"--(\[no\])?{flag.name}(=\S+)?(  \(default: .*\))?$"
            assert sum(bool(re.match(pattern, line)) for line in lines) == 1, flag.name
            assert flag.help.split()[0] in out
    assert max(map(len, out.splitlines())) <= 88
    names = [flag.name for flags in table().values() for flag in flags]
    assert len(names) == len(set(names))


def test_list_shows_workloads_and_algorithms(main):
    code, out, err = main("--list")
    assert (code, err) == (0, "")
    words = out.split()
    assert set(registry.definitions()) <= set(words)
    for name in ("adamw", "nadamw", "momentum", "nesterov"):
        for framework in ("jax", "pytorch"):
            assert f"reference_algorithms/{name}/{framework}.py" in words


# What main does with what comes of it.


def test_main_runs_what_the_flags_say(main, monkeypatch):
    seen = []
    monkeypatch.setattr(study, "run_study", lambda config: seen.append(config) or 0)
    flags = ["--max_global_steps=7", "--skip_evals", "--nosave_checkpoints"]
    flags += ["--notorch_compile", "--num_workers=3", "--pytorch_eval_num_workers=2"]
    code, out, err = main(MINI, *flags, "--rng_seed=3", "--data_dir=/d")
    assert (code, out, err) == (0, "", "")
    (config,) = seen
    assert config.max_global_steps == 7
    assert config.skip_evals and not config.save_checkpoints
    assert config.torch_compile is False
    assert (config.num_workers, config.eval_num_workers) == (3, 2)
    assert str(config.folders.data_dir) == "/d"
    assert config.flags["rng_seed"] == 3
    assert set(PUBLIC) <= set(config.flags)


@pytest.mark.parametrize("code", [0, 1, 2])
def test_main_returns_the_code_of_the_study(main, monkeypatch, code):
    monkeypatch.setattr(study, "run_study", lambda config: code)
    assert main(MINI)[0] == code


def test_an_interrupt_gives_the_command_that_goes_on(main, monkeypatch):
    def interrupt(config):
        raise RunInterrupted(signal.SIGTERM, begun=True)

    monkeypatch.setattr(study, "run_study", interrupt)
    flags = [MINI, "--overwrite", "--experiment_name", "my run", "--num_studies=2"]
    code, _, err = main(*flags, "--append_timestamp")
    assert code == 128 + signal.SIGTERM
    name = r"'--experiment_name=my run-[-\d]+'"
    command = rf"python runner {MINI} --num_studies=2 {name} --resume_last_run"
    assert re.search(rf"SIGTERM.\nGo on with:\n  {command}\n$", err), err


def test_an_interrupt_before_the_first_trial_is_a_sentence(main, monkeypatch):
    def interrupt(config):
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "run_study", interrupt)
    code, _, err = main(MINI)
    assert (code, err) == (130, "Interrupted before anything was run.\n")


def test_our_own_faults_are_not_dressed_as_the_users(main, monkeypatch):
    def fail(config):
        raise ZeroDivisionError

    monkeypatch.setattr(study, "run_study", fail)
    with pytest.raises(ZeroDivisionError):
        main(MINI)


def test_the_split_size_is_set_only_where_asked_for(config, monkeypatch):
    monkeypatch.delenv("PYTORCH_CUDA_ALLOC_CONF", raising=False)
    config(MINI)
    assert "PYTORCH_CUDA_ALLOC_CONF" not in os.environ
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "")  # so that it is undone
    config(MINI, "--set_pytorch_max_split_size")
    assert os.environ["PYTORCH_CUDA_ALLOC_CONF"] == "max_split_size_mb:256"


def test_usage_errors_are_raised_below_main():
    with pytest.raises(UsageError):
        parse("--no_such_flag")
