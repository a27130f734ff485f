/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cmd_docs.h"

#include "launcher/cmd.h"
#include "launcher/options_doc.h"
#include "muster/mem.h"

#include <string.h>

struct term {
    const char *term;
    const char *text;
};

/* Lists end with an entry whose first member is NULL. */
struct doc {
    const char *name;
    enum options_command command;
    const char *usage[4];
    const char *purpose;
    struct term examples[5]; /* term: what for; text: the command */
    struct term environment[14];
    struct term exits[8];
};

static const struct doc docs[] = {
    {
        .name = "run",
        .command = OPTIONS_RUN,
        .usage = {"muster run [OPTION]... [--] SCRIPT [ARGUMENT]...",
                  "muster run [OPTION]... -m MODULE [ARGUMENT]...",
                  "muster run [OPTION]... --no-python PROGRAM [ARGUMENT]..."},
        .purpose = "Start the workers of one node of a job, watch them, and stop all of them, on "
                   "every node, when one fails.",
        .examples =
            {
                {"Eight workers on this machine:",
                 "muster run --nproc-per-node 8 train.py --config c.yaml"},
                {"Two nodes of eight, the same command on each:",
                 "muster run --nnodes 2 --nproc-per-node 8 --rdzv-endpoint node1 train.py"},
                {"What would that start here, and why?",
                 "muster run --dry-run --print-config --nproc-per-node auto train.py"},
            },
        .environment =
            {
                {"MUSTER_<NAME>",
                 "Value of an option that is not on the command line: `MUSTER_MAX_RESTARTS=3` is "
                 "--max-restarts 3. Flags take 0 or 1."},
                {"PET_<NAME>", "The same for the options torchrun has too; MUSTER_<NAME> comes "
                               "first."},
                {"PYTHON_EXEC", "The interpreter, unless --python is given."},
                {"OMP_NUM_THREADS",
                 "Passed on to the workers. Unset, if there is more than one, it is a worker's "
                 "share of the cores it is bound to, with a GPU 16 at most; 1 if it is not bound."},
                {"CUDA_VISIBLE_DEVICES",
                 "The GPUs that count, as CUDA reads it; for AMD ROCR_VISIBLE_DEVICES and "
                 "HIP_VISIBLE_DEVICES too, for Intel ZE_AFFINITY_MASK. Without these, Slurm's "
                 "SLURM_STEP_GPUS, SLURM_GPUS_ON_NODE or SLURM_JOB_GPUS says how many."},
                {"TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE",
                 "--line-prefix, unless that is given; empty is unset."},
                {"TORCHELASTIC_ERROR_FILE",
                 "If whoever starts muster has set it: where muster leaves the root cause of a "
                 "failure, in the format of torch's error files."},
                {"TMPDIR", "Where the run's directory is made, unless --log-dir is given. "
                           "Default, and if it cannot be used: /tmp."},
                {"TORCHELASTIC_ENABLE_FILE_TIMER",
                 "1: workers may set torch's file timers, and one that lets a timer expire is "
                 "killed."},
                {"TORCHELASTIC_TIMER_FILE",
                 "Where to make the FIFO for that; a FIFO that is there is replaced. Default: a "
                 "new name in $TMPDIR."},
                {"TORCHELASTIC_HEALTH_CHECK_PORT",
                 "A port on which liveness probes over HTTP are answered."},
            },
        .exits =
            {
                {"0", "All workers ended with status 0."},
                {"N", "The worker that failed first ended with status N."},
                {"128+N", "The worker that failed first was killed by signal N, or signal N told "
                          "muster to end the job."},
                {"126, 127", "The program or script cannot be executed, or does not exist."},
                {"1", "The job could not be started or was lost: nodes missing, the coordinator "
                      "out of reach, a node dead."},
                {"2", "The command line is wrong."},
            },
    },
    {
        .name = "serve",
        .command = OPTIONS_SERVE,
        .usage = {"muster serve [OPTION]..."},
        .purpose = "Serve the rendezvous as a daemon of its own: the coordinator and the "
                   "key-value store for the jobs that name it as --rdzv-endpoint.",
        .examples =
            {
                {"On every interface, port 29500:", "muster serve"},
                {"For one job, on one address:",
                 "muster serve --listen 10.0.0.1:29400 --rdzv-id job7"},
            },
        .environment =
            {
                {"MUSTER_<NAME>",
                 "Value of an option that is not on the command line: `MUSTER_LISTEN=[::]:29400` "
                 "is --listen [::]:29400."},
            },
        .exits =
            {
                {"0", "It was stopped by SIGTERM or SIGINT."},
                {"1", "It could not serve, for example because the port is taken."},
                {"2", "The command line is wrong."},
            },
    },
    {
        .name = "check",
        .command = OPTIONS_CHECK,
        .usage = {"muster check [OPTION]... [SCRIPT [ARGUMENT]...]"},
        .purpose = "Find out in seconds whether these nodes are fit to train on: each by itself, "
                   "compared with the others, and whether all reach each other. Started as the "
                   "job would be: other options of `muster run` are accepted.",
        .examples =
            {
                {"The nodes of a Slurm allocation:", "srun --ntasks-per-node 1 muster check"},
                {"With nvcc, and the same script everywhere:",
                 "srun --ntasks-per-node 1 muster check --require nvcc train.py"},
            },
        .environment =
            {
                {"MUSTER_<NAME>", "Value of an option that is not on the command line: "
                                  "`MUSTER_REQUIRE=nvcc` is --require nvcc."},
            },
        .exits =
            {
                {"0", "Nothing was found that would hinder a job."},
                {"1", "Something was; it is said what, where and how to mend it."},
                {"2", "The command line is wrong."},
            },
    },
    {
        .name = "status",
        .command = OPTIONS_STATUS,
        .usage = {"muster status [OPTION]... HOST[:PORT]"},
        .purpose = "Ask a coordinator who is in its jobs, in what state, with which rank, since "
                   "when.",
        .examples =
            {
                {"What is going on:", "muster status node1:29500"},
                {"The same for a program:", "muster status --json node1:29500"},
            },
        .environment =
            {
                {"MUSTER_<NAME>", "Value of an option that is not on the command line: "
                                  "`MUSTER_TIMEOUT=1s` is --timeout 1s."},
            },
        .exits =
            {
                {"0", "The coordinator answered."},
                {"1", "It did not, or knows no such job."},
                {"2", "The command line is wrong."},
            },
    },
};

static const struct doc *doc_of(enum options_command command)
{
    const struct doc *doc = NULL;
    for (size_t i = 0; i < MU_COUNT(docs); i++) {
        if (docs[i].command == command) {
            doc = &docs[i];
        }
    }
    MU_REQUIRE(doc != NULL);
    return doc;
}

enum options_command cmd_docs_command_of(const char *name)
{
    for (size_t i = 0; i < MU_COUNT(docs); i++) {
        if (strcmp(docs[i].name, name) == 0) {
            return docs[i].command;
        }
    }
    return 0;
}

void cmd_docs_usage(struct mu_buf *text)
{
    mu_buf_printf(text, "Usage: muster run [OPTION]... SCRIPT [ARGUMENT]...\n"
                        "       muster help explains the rest\n");
}

void cmd_docs_help_all(struct mu_buf *text)
{
    mu_buf_printf(text, "Usage: muster COMMAND [OPTION]... [ARGUMENT]...\n\n");
    options_doc_wrap("Start a training job on many machines, give every process its rank, watch "
                     "all of them, and take all of them down together when one fails.",
                     0, 0, text);
    mu_buf_printf(text, "\nCommands:\n");
    size_t count;
    const struct cmd *commands = cmd_table(&count);
    for (size_t i = 0; i < count; i++) {
        mu_buf_printf(text, "  %-9s %s\n", commands[i].name, commands[i].summary);
    }
    mu_buf_printf(text, "\n"
                        "Examples:\n"
                        "  muster run --nproc-per-node 8 train.py --config c.yaml\n"
                        "  muster help run\n"
                        "\n"
                        "Options:\n"
                        "  -h, --help               Show this text and exit.\n"
                        "      --version            Show the version and exit.\n");
}

static void help_terms(const char *heading, const struct term *terms, struct mu_buf *text)
{
    enum { COLUMN = 20 };
    mu_buf_printf(text, "\n%s:\n", heading);
    for (; terms->term != NULL; terms++) {
        size_t start = text->len;
        mu_buf_printf(text, "  %s  ", terms->term);
        options_doc_wrap(terms->text, COLUMN, (int)(text->len - start), text);
    }
}

void cmd_docs_help(enum options_command command, struct mu_buf *text)
{
    const struct doc *doc = doc_of(command);
    for (size_t i = 0; doc->usage[i] != NULL; i++) {
        mu_buf_printf(text, "%s %s\n", i == 0 ? "Usage:" : "      ", doc->usage[i]);
    }
    mu_buf_printf(text, "\n");
    options_doc_wrap(doc->purpose, 0, 0, text);
    mu_buf_printf(text, "\nExamples:\n");
    for (const struct term *example = doc->examples; example->term != NULL; example++) {
        mu_buf_printf(text, "  %s\n    %s\n", example->term, example->text);
    }
    mu_buf_printf(text, "\n");
    options_doc_help(command, text);
    help_terms("Environment", doc->environment, text);
    help_terms("Exit status", doc->exits, text);
}

static void man_terms(const struct term *terms, const char *macro, struct mu_buf *text)
{
    mu_buf_printf(text, ".Bl -tag -width Ds\n");
    for (; terms->term != NULL; terms++) {
        mu_buf_printf(text, ".It %s %s\n", macro, terms->term);
        options_doc_man_prose(terms->text, text);
    }
    mu_buf_printf(text, ".El\n");
}

static void man_examples(const struct doc *doc, struct mu_buf *text)
{
    for (const struct term *example = doc->examples; example->term != NULL; example++) {
        options_doc_man_prose(example->term, text);
        mu_buf_printf(text, ".Pp\n.Dl ");
        options_doc_man_code(example->text, text);
        if (example[1].term != NULL) {
            mu_buf_printf(text, ".Pp\n");
        }
    }
}

int cmd_docs_man(enum options_command command, const char *part, struct mu_buf *text)
{
    const struct doc *doc = doc_of(command);
    if (strcmp(part, "options") == 0) {
        options_doc_man(command, text);
    } else if (strcmp(part, "environment") == 0) {
        man_terms(doc->environment, "Ev", text);
    } else if (strcmp(part, "exit") == 0) {
        man_terms(doc->exits, "Sy", text);
    } else if (strcmp(part, "examples") == 0) {
        man_examples(doc, text);
    } else {
        return -1;
    }
    return 0;
}
