/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of all subcommands, from the one table in options.def.
 *
 * A value comes from the command line, else from MUSTER_<NAME>, else (torchrun's own options) from
 * PET_<NAME>, else from the scheduler, else from the table; NAME is the long name in upper case
 * with '_' for '-'. Each value remembers which of these it was. Threading: any; nothing here is
 * shared.
 */
#pragma once

#include "launcher/limit_list.h"
#include "launcher/sched.h"
#include "muster/addr.h"
#include "muster/err.h"
#include "muster/exit_codes.h"
#include "muster/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bits, so that a row can belong to several. */
enum options_command { OPTIONS_RUN = 1, OPTIONS_SERVE = 2, OPTIONS_STATUS = 4, OPTIONS_CHECK = 8 };

enum options_type {
    OPTIONS_STRING,
    OPTIONS_CHOICE,
    OPTIONS_INT,
    OPTIONS_NPROC,
    OPTIONS_FLAG,
    OPTIONS_DURATION,
    OPTIONS_SIZE,
    OPTIONS_RANGE,
    OPTIONS_ENDPOINT,
};

/* Where a value comes from; a later one beats an earlier one, whatever the order of setting. */
enum options_origin {
    OPTIONS_FROM_DEFAULT,
    OPTIONS_FROM_SCHED,  /* what started this process, see sched.h */
    OPTIONS_FROM_OTHER,  /* another option, see implied_by */
    OPTIONS_FROM_ALSO,   /* a variable of torch's, see also_env */
    OPTIONS_FROM_PET,    /* PET_<NAME> in the environment */
    OPTIONS_FROM_MUSTER, /* MUSTER_<NAME> in the environment */
    OPTIONS_FROM_CLI,
};

/* A number of workers that is still to be counted. */
enum options_nproc {
    OPTIONS_NPROC_AUTO = -2,
    OPTIONS_NPROC_CPU = -3,
    OPTIONS_NPROC_GPU = -4,
    OPTIONS_NPROC_XPU = -5,
};

enum options_group {
#define GROUP(id, title) OPTIONS_GROUP_##id,
#include "launcher/options.def"
    OPTIONS_GROUP_COUNT,
};

/* OPTION_nnodes, OPTION_max_restarts, ... */
enum options_id {
#define OPTION(field, type, name, ...) OPTION_##field,
#include "launcher/options.def"
    OPTION_COUNT,
};

/* One row of options.def. */
struct options_row {
    enum options_type type;
    size_t offset;          /* of the field in struct options */
    const char *name;       /* long name, without dashes */
    char short_name;        /* or 0 */
    const char *value_name; /* how help calls the value; NULL for flags */
    const char *fallback;   /* the default as text, or NULL: unset */
    const char *choices;    /* "a|b|c", or NULL */
    int64_t min;
    int64_t max;
    enum options_group group;
    unsigned commands;      /* bits of enum options_command */
    bool is_torchrun;       /* torchrun has it too: PET_<NAME> counts */
    bool is_cli_only;       /* never read from MUSTER_ and PET_ variables */
    const char *also_env;   /* another variable it is read from, the weakest; or NULL */
    const char *implied_by; /* an option whose value can mean this one, or NULL */
    const char *help;       /* sentences; words in `backquotes` are literal */
};

struct options_range {
    int64_t min;
    int64_t max;
};

/* Where the job's coordinator is, see options_check.h. */
struct options_rendezvous {
    bool is_standalone;          /* this node alone: endpoint is 127.0.0.1, port 0 (any free one) */
    struct mu_endpoint endpoint; /* the first place to look; valid after options_check() */
    const struct sched *ladder;  /* borrowed; its places and ports are all to be tried, or NULL */
    uint16_t side_port;          /* of the coordinator of a check; 0: none. See check_door.h */
    bool is_elsewhere;           /* the scheduler says that another node serves it */
};

#define OPTIONS_FIELD_STRING(field)   const char *field;
#define OPTIONS_FIELD_CHOICE(field)   const char *field;
#define OPTIONS_FIELD_INT(field)      int64_t field;
#define OPTIONS_FIELD_NPROC(field)    int64_t field;
#define OPTIONS_FIELD_FLAG(field)     bool field;
#define OPTIONS_FIELD_DURATION(field) int64_t field;
#define OPTIONS_FIELD_SIZE(field)     int64_t field;
#define OPTIONS_FIELD_RANGE(field)    struct options_range field;
#define OPTIONS_FIELD_ENDPOINT(field) struct mu_endpoint field;

/*
 * Everything the command line said. Owns nothing: strings point into argv, the environment or
 * static text, which must outlive it. Not to be copied once options_check() has run, which may
 * point fields at the storage below.
 */
struct options {
#define OPTION(field, type, name, ...) OPTIONS_FIELD_##type(field)
#include "launcher/options.def"

    enum options_command command;
    const char *script;                /* run: script, module or program; NULL if missing */
    char *const *script_args;          /* run: its arguments, NULL-terminated, untouched */
    const char *target;                /* status: HOST:PORT as given; NULL if missing */
    struct mu_endpoint target_address; /* status: valid after options_check() */
    struct options_rendezvous rendezvous;
    const struct sched *sched; /* borrowed: what started this process; NULL: nothing known */
    bool is_echo;              /* what options_check() refused, another process of the job says */
    int leash;                 /* a descriptor for uv_leash.h; -1: nobody holds one */
    struct exit_codes stop_codes;  /* run: of --stop-exit-codes, valid after options_check() */
    struct exit_codes retry_codes; /* run: of --retry-exit-codes, the same */
    struct limit_list limits;      /* run, check: of --limit, the same */

    enum options_origin origin[OPTION_COUNT];
    char own_rdzv_id[MU_MAX_NAME + 1];   /* storage of a generated rdzv_id */
    char own_node_name[MU_MAX_NAME + 1]; /* storage of the default node_name */
};

/* The table; OPTION_COUNT rows, indexed by enum options_id. */
const struct options_row *options_table(void);

/* Heading of a group. */
const char *options_group_title(enum options_group group);

/* All defaults, for `command`. */
void options_init(struct options *opts, enum options_command command);

/*
 * Set one option from text (NULL for a flag that was just named), unless it has a value of a
 * stronger origin. MU_E_USAGE if the text is not a value of it. Borrows `text`.
 */
int options_set(struct options *opts, enum options_id id, const char *text,
                enum options_origin origin, struct mu_err *err);

/*
 * "--nnodes", "MUSTER_NNODES", "PET_NNODES", "TORCH_...", "scheduler", "default", or "--rdzv-conf"
 * of an option that is implied by it. Truncated to fit.
 */
void options_origin_name(enum options_id id, enum options_origin origin, char *text, size_t size);
