#include "runtime/command_options.h"

#include <string.h>

/* Of every command that runs a plan: what session.c reads. */
/* clang-format off */
#define SESSION_OPTIONS \
    {"threads", "N", "CPU threads, shared by the ranks (as many as the process may use)", false}, \
    {"ranks", "N", "ranks that the plan must be for (as many as it is for)", false}, \
    {"comm", "local|mpi|tcp", "ranks are threads, or processes (of what started this one)", false}, \
    {"timeout", "SECONDS", "how long a rank may wait for another (300)", false}
/* clang-format on */

static const col_option train_options[] = {
    {"data", "FILE",
     "text, JSON lines or .bin tokens, in this order; WikiText's folder; CIFAR-10's folder or files; or "
     "`synthetic`",
     true},
    {"tokenizer", "bytes|PATH", "tokenizer.json, or a folder with one or with vocab.json and merges.txt",
     false},
    {"steps", "N", "optimizer steps in all (1000)", false},
    {"seed", "N", "of initial values, shuffling and dropout (0)", false},
    {"lr", "X", "peak learning rate (3e-4)", false},
    {"min-lr", "X", "learning rate at the end of the schedule (a tenth of --lr)", false},
    {"warmup", "N", "steps of linear warm-up (a twentieth of --steps)", false},
    {"val-every", "N", "steps between validations, also after the last step; 0: none (100)", false},
    {"val-batches", "N", "batches of a validation; 0: all there are (20)", false},
    {"val-fraction", "X",
     "part of the data, at the end, kept for validation (0.1; CIFAR-10's and WikiText's folders have their "
     "own)",
     false},
    {"mask-rate", "X",
     "part of the tokens that a masked language model has to find (0.15 where attention sees what comes "
     "later, "
     "else 0: the next token)",
     false},
    {"mask-token", "ID",
     "what stands in their place (the tokenizer's [MASK] or <mask>, or the id after its last)", false},
    {"weights", "DIR", "start from these weights", false},
    {"save", "DIR", "folder of checkpoints; one is saved after the last step and on SIGINT or SIGTERM",
     false},
    {"save-every", "N", "steps between checkpoints; 0: only the last (500)", false},
    {"keep", "N", "checkpoints that stay; 0: all (3)", false},
    {"resume", NULL, "go on from the newest checkpoint of --save, with its settings", false},
    {"log-dir", "DIR", "folder of metrics.jsonl and TensorBoard events", false},
    {"trace", "FILE", "Chrome trace: every step, every instruction of the first five", false},
    {"peak-flops", "X", "floating-point operations per second of the machine, for the MFU", false},
    SESSION_OPTIONS,
    {"quiet", NULL, "print errors and notices only", false},
};

static const char train_notes[] =
    "Ends with status 0 after the last step, and after SIGINT or SIGTERM: the step is finished and, with "
    "--save,\n"
    "saved; a second signal ends at once. A loss or gradient that is not finite ends with status 2 and the "
    "op\n"
    "that made it; that step changes nothing, and earlier checkpoints stay as they are.\n"
    "With --resume, what is not given on the command line is as it was saved.\n";

static const col_option generate_options[] = {
    {"weights", "DIR", "checkpoint folder, Hugging Face folder or .safetensors file", false},
    {"prompt", "TEXT", "what the text starts with", false},
    {"prompt-file", "FILE", "the same, from a file", false},
    {"max-tokens", "N", "tokens to make at most (64)", false},
    {"temperature", "X", "divides the logits; 0: leaves them as they are", false},
    {"top-k", "N", "only the N likeliest tokens; 0: all", false},
    {"top-p", "X", "only the likeliest tokens that make up this probability; 0: all", false},
    {"seed", "N", "of the choices (0)", false},
    {"tokenizer", "bytes|PATH", "tokenizer.json, or a folder with one or with vocab.json and merges.txt",
     false},
    {"no-echo", NULL, "print what is made only, without the prompt", false},
    {"stats", NULL, "tokens per second and use of the memory's bandwidth, on standard error", false},
    SESSION_OPTIONS,
};

static const char generate_notes[] =
    "Without --temperature, --top-k and --top-p the temperature is 0.8 and the top 40 tokens are drawn from. "
    "When any\n"
    "of them is given the others are 0; all three 0 takes the likeliest token each time. Without --tokenizer "
    "it is\n"
    "the one that the weights were trained with, if their folder says so, else bytes.\n"
    "Stops at the end-of-text token, at --max-tokens, or when the model's context is full.\n";

static const col_option run_options[] = {
    {"weights", "DIR", "checkpoint folder, Hugging Face folder or .safetensors file", false},
    {"seed", "N", "of the initial values of parameters without --weights (0)", false},
    {"input", "NAME=FILE.npy", "the value of an input (colc run: also an ONNX tensor, FILE.pb)", true},
    {"output", "DIR", "writes NAME.npy for every output; else only shapes are printed", false},
    SESSION_OPTIONS,
};

static const col_option probe_options[] = {
    {"output", "MACHINE.yaml", "the machine's file (-o)", false},
    {"target", "NAME", "cpu (default) or cuda", false},
    {"ranks", "N", "cuda: also collectives between so many GPUs of this host", false},
    {"plan", "PLAN", "time the instructions of this plan's programs instead, and print them", true},
    {"threads", "N", "cores to measure with (as many as the process may use)", false},
};

static const char probe_notes[] =
    "Takes some ten seconds; anything else that runs meanwhile makes the machine look slower. `colc compile "
    "--machine\n"
    "MACHINE.yaml` then plans for it; docs/machines.md describes the file.\n";

static const col_command_spec specs[] = {
    {"train", "PLAN --data FILE...|synthetic [options]", "train the model of a training plan", train_options,
     COL_COUNT(train_options), train_notes, false},
    {"generate", "PLAN --weights DIR --prompt TEXT [options]", "continue a text", generate_options,
     COL_COUNT(generate_options), generate_notes, false},
    {"run", "PLAN [--weights DIR] [--input NAME=FILE.npy]... [--output DIR]", "forward pass on given inputs",
     run_options, COL_COUNT(run_options), NULL, false},
    {"info", "PLAN", "say what a plan holds", NULL, 0, NULL, false},
    {"probe", "-o MACHINE.yaml [--target cuda --ranks N] | --plan PLAN", "measure this machine",
     probe_options, COL_COUNT(probe_options), probe_notes, true},
};

const col_command_spec *col_command_specs(size_t *out_count)
{
    *out_count = COL_COUNT(specs);
    return specs;
}

const col_command_spec *col_command_spec_find(const char *name)
{
    for (size_t i = 0; i < COL_COUNT(specs); i++) {
        if (!strcmp(specs[i].name, name)) return &specs[i];
    }
    return NULL;
}

void col_command_spec_help(const col_command_spec *spec, const char *program, col_str *out)
{
    col_str_printf(out, "usage: %s %s %s\n\n%s\n", program, spec->name, spec->usage, spec->summary);
    if (spec->option_count) col_str_append(out, "\n");
    col_options_help(spec->options, spec->option_count, out);
    if (spec->notes) col_str_printf(out, "\n%s", spec->notes);
}
