/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The course of a measurement: a tournament, what looks slow once more, an all-reduce.
 *
 * Rank 0 has the clock: at the end of every round it tells all whether there is time for another.
 */
#include "mpi/mpi_commands.h"

#include "mpi/fabric.h"
#include "mpi/fabric_rounds.h"
#include "mpi/mpi_pair.h"
#include "muster/mem.h"
#include "muster/names.h"

#include <mpi.h>
#include <signal.h>

enum {
    MAX_PAIRS = 2 * 1024 * 1024, /* rank 0 holds their results */
    REDUCE_LARGE = 64 * 1024 * 1024,
    EXTRA_SECONDS = 60, /* over the time that was given, to start and to end */
};

struct course {
    const struct mpi_fabric_wish *wish;
    int rank;
    int size;
    double start;
    double slot; /* seconds of a round */
    int rounds;  /* that were played */
    char *buffer;
    struct mpi_pair_result *own; /* by turn: of rounds this rank led; no bandwidth: it did not */
};

/* What a rank says that has been stuck for too long. A signal handler has no other way to it. */
static char stuck_text[256];

static void on_alarm(int signo)
{
    (void)signo;
    ssize_t n = write(STDERR_FILENO, stuck_text, strlen(stuck_text));
    _exit(n > 0 ? 1 : 3);
}

static void be_doing(const char *what, int partner)
{
    char host[64] = "?";
    gethostname(host, sizeof(host) - 1);
    if (partner >= 0) {
        snprintf(stuck_text, sizeof(stuck_text), "muster-mpi: %s: nothing came back from rank %d\n",
                 host, partner);
    } else {
        snprintf(stuck_text, sizeof(stuck_text), "muster-mpi: %s: no end of %s\n", host, what);
    }
}

static void watch(int64_t seconds)
{
    be_doing("MPI_Init: not all processes came, or they cannot reach each other", -1);
    signal(SIGALRM, on_alarm);
    alarm((unsigned)(seconds + EXTRA_SECONDS));
}

/*
 * Rank 0's word, once all ranks are here. Who waits does not burn a CPU that somebody on this
 * machine may need to measure with.
 */
static int agree(const struct course *c, int word)
{
    static const struct timespec nap = {.tv_nsec = 100000};
    int mine = c->rank == 0 ? word : 0;
    int all = 0;
    int is_done = 0;
    MPI_Request request;
    MPI_Iallreduce(&mine, &all, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD, &request);
    while (MPI_Test(&request, &is_done, MPI_STATUS_IGNORE) == MPI_SUCCESS && !is_done) {
        nanosleep(&nap, NULL);
    }
    MPI_Wait(&request, MPI_STATUS_IGNORE); /* it is done */
    return all;
}

static bool has_time(const struct course *c, double share)
{
    return MPI_Wtime() - c->start < (double)c->wish->seconds * share;
}

/* The better of what was measured before and now: a passing disturbance is not the network. */
static void improve(struct mpi_pair_result *known, const struct mpi_pair_result *now)
{
    bool is_first = known->bandwidth <= 0;
    known->latency_s =
        is_first || now->latency_s < known->latency_s ? now->latency_s : known->latency_s;
    known->bandwidth = now->bandwidth > known->bandwidth ? now->bandwidth : known->bandwidth;
}

static void play(struct course *c, int turn)
{
    int partner = fabric_rounds_partner(c->size, fabric_rounds_at(c->size, turn), c->rank);
    be_doing("a round", partner);
    if (partner > c->rank) {
        struct mpi_pair_result now;
        mpi_pair_lead(partner, c->slot, c->buffer, &now);
        improve(&c->own[turn], &now);
    } else if (partner >= 0) {
        mpi_pair_follow(partner, c->buffer);
    }
    be_doing("waiting for the other ranks", -1);
}

static int most_rounds(const struct course *c)
{
    int all = fabric_rounds_count(c->size);
    int limit = 2 * MAX_PAIRS / c->size;
    return all < limit ? all : limit;
}

/* The whole tournament, or as much of it as there is half of the time for. */
static void play_all(struct course *c)
{
    int most = most_rounds(c);
    double slot = (double)c->wish->seconds / 2 / most;
    c->slot = slot < 0.1 ? 0.1 : slot > 1 ? 1 : slot;
    do {
        play(c, c->rounds++);
    } while (agree(c, c->rounds < most && has_time(c, 0.5)));
}

/* Rank 0: every result of every rank, as pairs. */
static void collect(const struct course *c, struct fabric *f)
{
    int count = c->rounds * (int)(sizeof(*c->own) / sizeof(float));
    mu_autofree struct mpi_pair_result *all =
        c->rank == 0 ? mu_calloc((size_t)c->size * (size_t)c->rounds, sizeof(*all)) : NULL;
    MPI_Gather(c->own, count, MPI_FLOAT, all, count, MPI_FLOAT, 0, MPI_COMM_WORLD);
    f->pair_count = 0;
    for (int i = 0; all != NULL && i < c->size * c->rounds; i++) {
        int a = i / c->rounds;
        if (all[i].bandwidth > 0) {
            f->pairs[f->pair_count++] = (struct fabric_pair){
                .a = a,
                .b = fabric_rounds_partner(c->size, fabric_rounds_at(c->size, i % c->rounds), a),
                .turn = i % c->rounds,
                .latency_s = (double)all[i].latency_s,
                .bandwidth = (double)all[i].bandwidth,
            };
        }
    }
    if (c->rank == 0) {
        fabric_judge(f);
    }
}

/* What looks slow is measured again, twice at most: the other pairs of those rounds are, too. */
static void play_doubtful(struct course *c, struct fabric *f)
{
    enum { MOST = 2 };
    mu_autofree char *is_doubtful = mu_calloc((size_t)c->rounds, 1);
    for (int i = 0; i < MOST && agree(c, f->slow_pairs > 0 && has_time(c, 0.6)); i++) {
        memset(is_doubtful, 0, (size_t)c->rounds);
        for (size_t k = 0; k < f->pair_count; k++) {
            is_doubtful[f->pairs[k].turn] |= (char)fabric_is_slow(&f->pairs[k]);
        }
        MPI_Bcast(is_doubtful, c->rounds, MPI_BYTE, 0, MPI_COMM_WORLD);
        bool has_more = true;
        for (int turn = 0; turn < c->rounds && has_more; turn++) {
            if (is_doubtful[turn]) {
                play(c, turn);
                has_more = agree(c, has_time(c, 0.75)) != 0;
            }
        }
        collect(c, f);
    }
}

/* The best of several, as rank 0 sees it. */
static double reduce(const struct course *c, float *data, int bytes, int times)
{
    double best = 0;
    int count = bytes / (int)sizeof(*data);
    for (int i = 0; i < times; i++) {
        memset(data, 0, (size_t)bytes);
        agree(c, 0);
        double start = MPI_Wtime();
        MPI_Allreduce(MPI_IN_PLACE, data, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        double taken = MPI_Wtime() - start;
        best = i == 0 || taken < best ? taken : best;
    }
    return best;
}

static void reduce_all(const struct course *c, struct fabric *f)
{
    enum { SMALL = 8, MEDIUM = 1024 * 1024, SMALL_TIMES = 20, LARGE_TIMES = 3 };
    mu_autofree float *data = mu_alloc(REDUCE_LARGE);
    be_doing("an all-reduce", -1);
    double small = reduce(c, data, SMALL, 1);
    int times = agree(c, small * SMALL_TIMES < 1 ? SMALL_TIMES : 1);
    f->reduces[0] =
        (struct fabric_reduce){.bytes = SMALL, .seconds = reduce(c, data, SMALL, times)};
    double medium = reduce(c, data, MEDIUM, 1);
    double left = (double)c->wish->seconds - (MPI_Wtime() - c->start);
    int megabytes = REDUCE_LARGE / MEDIUM;
    while (megabytes > 1 && medium * megabytes * (LARGE_TIMES + 1) > left) {
        megabytes /= 2; /* a slow network gets a smaller one */
    }
    int bytes = agree(c, megabytes) * MEDIUM;
    f->reduces[1] = (struct fabric_reduce){.bytes = (size_t)bytes,
                                           .seconds = reduce(c, data, bytes, LARGE_TIMES)};
}

static void name_self(char name[MU_MAX_NAME + 1])
{
    const char *given = getenv("SLURMD_NODENAME"); /* a node's host name may be another */
    if (given != NULL) {
        snprintf(name, MU_MAX_NAME + 1, "%s", given);
    } else if (gethostname(name, MU_MAX_NAME) != 0) {
        name[0] = '\0';
    }
    if (!mu_names_is_presentable(mu_slice_of(name))) {
        snprintf(name, MU_MAX_NAME + 1, "node");
    }
}

/* 2, and a sentence of rank 0's, unless there are several processes, each on a node of its own. */
static int check_places(const struct course *c)
{
    MPI_Comm here;
    int local;
    int most;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &here);
    MPI_Comm_size(here, &local);
    MPI_Comm_free(&here);
    MPI_Allreduce(&local, &most, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    if (c->size >= 2 && most == 1) {
        return 0;
    }
    if (c->rank == 0) {
        fprintf(stderr,
                "muster-mpi: %d process%s, %d of them on one node: to measure what is between "
                "nodes start one on each of two or more, with mpirun --map-by ppr:1:node or srun "
                "--mpi=pmix --ntasks-per-node=1\n",
                c->size, c->size == 1 ? "" : "es", most);
    }
    return 2;
}

static bool print(const struct course *c, const struct fabric *f)
{
    struct mu_buf out = {0};
    if (c->wish->is_json) {
        fabric_show_json(f, &out);
    } else {
        fabric_show(f, &out);
    }
    bool is_written = fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
    mu_buf_fini(&out);
    return is_written;
}

static int measure(struct course *c)
{
    char name[MU_MAX_NAME + 1] = {0};
    size_t nodes = (size_t)c->size;
    size_t most = (size_t)most_rounds(c);
    mu_autofree char *names = mu_calloc(nodes, sizeof(name));
    mu_autofree bool *is_slow_node = mu_calloc(nodes, sizeof(*is_slow_node));
    mu_autofree struct fabric_pair *pairs =
        mu_calloc(c->rank == 0 ? nodes * most / 2 + 1 : 1, sizeof(*pairs));
    mu_autofree struct mpi_pair_result *own = mu_calloc(most, sizeof(*own));
    mu_autofree char *buffer = mu_alloc(MPI_PAIR_BYTES);
    struct fabric f = {.names = (const char(*)[MU_MAX_NAME + 1])(const void *)names,
                       .nodes = c->size,
                       .pairs = pairs,
                       .is_slow_node = is_slow_node};
    c->own = own;
    c->buffer = buffer;
    name_self(name);
    MPI_Gather(name, (int)sizeof(name), MPI_BYTE, names, (int)sizeof(name), MPI_BYTE, 0,
               MPI_COMM_WORLD);
    play_all(c);
    collect(c, &f);
    play_doubtful(c, &f);
    reduce_all(c, &f);
    f.seconds = MPI_Wtime() - c->start;
    return c->rank != 0 || (print(c, &f) && f.slow_pairs == 0) ? 0 : 1;
}

int mpi_fabric(const struct mpi_fabric_wish *wish)
{
    struct course c = {.wish = wish};
    watch(wish->seconds);
    /* Who waits for a message leaves the CPU to others: a node need not be idle to be measured. */
    setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
    MPI_Init(NULL, NULL);
    c.start = MPI_Wtime();
    MPI_Comm_rank(MPI_COMM_WORLD, &c.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &c.size);
    int status = check_places(&c);
    if (status == 0) {
        status = measure(&c);
    }
    be_doing("MPI_Finalize", -1);
    MPI_Finalize();
    return status;
}
