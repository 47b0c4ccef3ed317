/* Processes that a launcher started, over TCP: what they exchange, what they are told of each other, and what they end
 * with when one fails, is killed, stops or stays behind. Each process of a test is a child of it. */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runtime/tcp/tcp.h"
#include "tests/unit/unit.h"

enum { RANKS = 3, CULPRIT = 1, BYTES = 3 << 20 };

enum { AGREE, FAILS, IS_KILLED, STOPS, STAYS_BEHIND, IS_KILLED_FIRST, HAS_ANOTHER_PLAN };

static col_status exchange_all(col_comm *comm)
{
    unsigned char *mine = malloc(BYTES), *all = malloc((size_t)RANKS * BYTES);
    assert_true(mine && all);
    for (int64_t root = 0; root < RANKS; root++) {
        memset(mine, (int)(comm->rank + 1), BYTES);
        COL_TRY(comm->type->exchange(comm, mine, all, BYTES));
        for (int64_t i = 0; i < (int64_t)RANKS * BYTES; i++) assert_int_equal(all[i], i / BYTES + 1);
        COL_TRY(comm->type->broadcast(comm, root, mine, BYTES));
        for (int64_t i = 0; i < BYTES; i++) assert_int_equal(mine[i], root + 1);
    }
    free(mine);
    free(all);
    return NULL;
}

/* As a device does whose GPU stands in a collective: rank 0 or another loses patience first. */
static col_status watch_others(col_comm *comm, int what, bool first)
{
    Col__Plan__Collective how = COL__PLAN__COLLECTIVE__INIT;
    col_plan_instruction in = COL__PLAN__INSTRUCTION__INIT;
    in.name = (char[]){"h.0.sum"};
    in.kind_case = COL__PLAN__INSTRUCTION__KIND_COLLECTIVE;
    in.collective = &how;
    bool behind = what == STAYS_BEHIND && comm->rank == CULPRIT;
    for (int look = 0;; look++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000 * 1000}, NULL);
        bool late = what >= STOPS && look > 200 && comm->rank == (first ? 0 : RANKS - 1);
        COL_TRY(comm->type->watch(comm, behind ? NULL : &in, behind ? 2 : 3, late && !behind));
        if (comm->rank != CULPRIT || look < 50) continue;
        if (what == FAILS) return col_error_make(COL_DEVICE, "the device is on fire");
        if (what == IS_KILLED) kill(getpid(), SIGKILL);
        if (what == STOPS) kill(getpid(), SIGSTOP);
    }
}

static col_status be_rank(int what, bool first)
{
    col_mesh mesh;
    col_comm *comm;
    col_tcp_place place;
    assert_true(col_mesh_parse("3", &mesh) && col_tcp_find_place(&place));
    bool is_culprit = place.rank == CULPRIT;
    if (what == IS_KILLED_FIRST && is_culprit) kill(getpid(), SIGKILL);
    COL_TRY(col_tcp_open(&mesh, what == HAS_ANOTHER_PLAN && is_culprit ? 8 : 7,
                         what == IS_KILLED_FIRST ? 1 : 30, &comm));
    col_status status = exchange_all(comm);
    if (!status && what != AGREE) status = watch_others(comm, what, first);
    if (status) (comm->type->fail)(comm, status); /* in brackets: cmocka has a macro of that name */
    comm->type->close(comm);
    return status;
}

static void set_number(const char *name, int value)
{
    char text[16];
    snprintf(text, sizeof text, "%d", value);
    setenv(name, text, 1);
}

/* Of two ports in a row the first. */
static int find_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    close(listener);
    return ntohs(address.sin_port) - 1;
}

/* Every rank that is left ends with the code and says the message. */
static void run_ranks(int what, bool first, col_code code, const char *message)
{
    pid_t children[RANKS];
    FILE *said[RANKS];
    set_number("MASTER_PORT", find_port());
    for (int r = 0; r < RANKS; r++) {
        said[r] = tmpfile();
        assert_non_null(said[r]);
        children[r] = fork();
        if (children[r]) continue;
        set_number("RANK", r);
        col_status status = be_rank(what, first);
        fprintf(said[r], "%s", col_error_message(status));
        fflush(said[r]);
        _exit((int)col_error_code(status));
    }
    for (int i = 0; i < RANKS; i++) {
        char text[1024] = "";
        int r = (CULPRIT + 1 + i) % RANKS, ended; /* the culprit last */
        bool is_culprit = r == CULPRIT;
        if (is_culprit && what == STOPS) kill(children[r], SIGKILL);
        assert_int_equal(waitpid(children[r], &ended, 0), children[r]);
        rewind(said[r]);
        (void)!fread(text, 1, sizeof text - 1, said[r]);
        fclose(said[r]);
        if (is_culprit && what != AGREE && what != FAILS && what != STAYS_BEHIND &&
            what != HAS_ANOTHER_PLAN) {
            assert_true(WIFSIGNALED(ended));
            continue;
        }
        assert_true(WIFEXITED(ended));
        if (WEXITSTATUS(ended) != (int)code || (r == 0 || !is_culprit ? !strstr(text, message) : false))
            fail_msg("rank %d ended with %d, not %d: %s", r, WEXITSTATUS(ended), (int)code, text);
    }
}

static void test_agreement(void **state)
{
    (void)state;
    run_ranks(AGREE, true, COL_OK, "");
    run_ranks(HAS_ANOTHER_PLAN, true, COL_BAD_INPUT, "rank 1 has another plan than rank 0");
}

static void test_failures(void **state)
{
    (void)state;
    run_ranks(FAILS, true, COL_DEVICE, "rank 1 failed: the device is on fire");
    run_ranks(IS_KILLED, true, COL_DEVICE, "lost the connection to rank 1, which has ended or was killed");
    run_ranks(IS_KILLED_FIRST, true, COL_DEVICE, "");
}

static void test_late_ranks(void **state)
{
    (void)state;
    for (int first = 0; first < 2; first++) {
        char message[128];
        snprintf(message, sizeof message,
                 "rank 1 did not come to the all-reduce 'h.0.sum', where rank %d waits, within 30 s",
                 first ? 0 : 2);
        run_ranks(STOPS, first, COL_DEVICE, message);
        run_ranks(STAYS_BEHIND, first, COL_DEVICE, message);
    }
}

/* Rank 0 forks the others: it ends with the code and says the message, and none of them is left. */
static void run_forked(int what, col_code code, const char *message)
{
    pid_t *pids = mmap(NULL, RANKS * sizeof *pids, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    FILE *said = tmpfile();
    char text[1024] = "";
    int ended;
    assert_true(pids != MAP_FAILED && said);
    pid_t first = fork();
    if (!first) {
        col_mesh mesh;
        col_comm *comm;
        assert_true(col_mesh_parse("3", &mesh));
        col_status status = col_tcp_fork(&mesh, 30, &comm);
        assert_null(status);
        bool leads = comm->rank == 0;
        pids[comm->rank] = getpid();
        assert_true(comm->place == comm->rank && comm->sharing == RANKS);
        status = exchange_all(comm);
        if (!status && what != AGREE) status = watch_others(comm, what, true);
        if (status) (comm->type->fail)(comm, status);
        comm->type->close(comm);
        if (leads) fprintf(said, "%s", col_error_message(status));
        fflush(said);
        _exit((int)col_error_code(status));
    }
    assert_int_equal(waitpid(first, &ended, 0), first);
    rewind(said);
    (void)!fread(text, 1, sizeof text - 1, said);
    fclose(said);
    if (!WIFEXITED(ended) || WEXITSTATUS(ended) != (int)code || !strstr(text, message))
        fail_msg("rank 0 ended with %d, not %d: %s", ended, (int)code, text);
    for (int r = 0; r < RANKS; r++) assert_true(pids[r] > 0 && kill(pids[r], 0) == -1);
    munmap(pids, RANKS * sizeof *pids);
}

static void test_forked_ranks(void **state)
{
    (void)state;
    run_forked(AGREE, COL_OK, "");
    run_forked(FAILS, COL_DEVICE, "rank 1 failed: the device is on fire");
    run_forked(IS_KILLED, COL_DEVICE, "rank 0 lost the connection to rank 1, which has ended or was killed");
    run_forked(STOPS, COL_DEVICE,
               "rank 1 did not come to the all-reduce 'h.0.sum', where rank 0 waits, within 30 s");
}

static void test_environment(void **state)
{
    (void)state;
    col_tcp_place place;
    col_mesh mesh;
    col_comm *comm;
    assert_true(col_mesh_parse("4", &mesh));
    assert_true(!col_tcp_find_place(&place)); /* there is no RANK */
    assert_fails(col_tcp_open(&mesh, 0, 1, &comm), COL_BAD_INPUT, "RANK and WORLD_SIZE do not say");
    set_number("RANK", 0);
    assert_fails(col_tcp_open(&mesh, 0, 1, &comm), COL_BAD_INPUT,
                 "the launcher started 3 processes, but the plan is for 4 ranks");
    unsetenv("RANK");
    unsetenv("WORLD_SIZE");
    set_number("SLURM_PROCID", 3);
    set_number("SLURM_LOCALID", 1);
    set_number("SLURM_STEP_NUM_TASKS", 4);
    setenv("SLURM_STEP_TASKS_PER_NODE", "2(x2)", 1);
    assert_true(col_tcp_find_place(&place));
    assert_true(place.rank == 3 && place.size == 4 && place.local_rank == 1 && place.local_size == 2);
    unsetenv("MASTER_PORT");
    assert_fails(col_tcp_open(&mesh, 0, 1, &comm), COL_BAD_INPUT, "MASTER_PORT is not set");
    setenv("MASTER_PORT", "65535", 1);
    assert_fails(col_tcp_open(&mesh, 0, 1, &comm), COL_BAD_INPUT,
                 "MASTER_PORT=65535 is not a port below 65535");
    set_number("MASTER_PORT", find_port());
    set_number("SLURM_PROCID", 0);
    assert_fails(col_tcp_open(&mesh, 0, 0.2, &comm), COL_DEVICE,
                 "ranks 1, 2, 3 did not connect to rank 0 at 127.0.0.1");
}

int main(void)
{
    setenv("MASTER_ADDR", "127.0.0.1", 1);
    set_number("WORLD_SIZE", RANKS);
    unsetenv("RANK");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agreement),   cmocka_unit_test(test_failures),
        cmocka_unit_test(test_late_ranks),  cmocka_unit_test(test_forked_ranks),
        cmocka_unit_test(test_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
