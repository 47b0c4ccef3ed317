/* Plans on meshes on a device, between ranks that are threads: collectives, variables, ranks that fail or do not
 * come, sessions, plans that are refused.
 *
 *     test_ranks DEVICE [CASES]             "cpu" or "null", and the number of random problems of each kind
 *     test_ranks cuda CASES MESH            between GPUs, on one mesh; skips where there are too few
 *     mpirun ... test_ranks_mpi DEVICE CASES MESH    the same with processes, on one mesh */
#include "tests/cts/ranks.h"

#include <dirent.h>
#include <math.h>
#include <time.h>

#include "ir/plan/plan_io.h"
#include "runtime/session.h"
#include "runtime/tcp/tcp.h"
#include "tests/unit/temporary_folder.h"

#ifdef COL_TEST_MPI
#include "runtime/mpi/mpi.h"
#endif

#ifndef COL_TEST_MPI

/* Ranks that fail. A device whose rank `culprit` fails in a run, or sleeps first. */

static const struct fault {
    int64_t culprit;
    bool sleeps;
} * fault; /* of the test that is running */

typedef struct faulty {
    col_device *inner;
    col_comm *comm;
} faulty;

static col_status faulty_open(const col_plan *plan, const col_device_options *options, col_device **out)
{
    faulty *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->comm = options->comm;
    *out = (col_device *)f;
    return col_device_null.open(plan, options, &f->inner);
}

static void faulty_close(col_device *device)
{
    faulty *f = (faulty *)device;
    col_device_null.close(f->inner);
    free(f);
}

static col_status faulty_run(col_device *device, const col_plan_program *program, int64_t *out_bad)
{
    faulty *f = (faulty *)device;
    if (f->comm->rank != fault->culprit) return col_device_null.run(f->inner, program, out_bad);
    if (!fault->sleeps) return col_error_make(COL_DEVICE, "the device is on fire");
    nanosleep(&(struct timespec){.tv_nsec = 400 * 1000 * 1000}, NULL);
    return col_device_null.run(f->inner, program, out_bad);
}

static const col_device_type faulty_type = {
    .name = "faulty", .open = faulty_open, .close = faulty_close, .run = faulty_run};

static int count_threads(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/task");
    assert_non_null(folder);
    while (readdir(folder)) count++;
    closedir(folder);
    return count;
}

/* All-reduces over axis 1, then over axis 0: the culprit's partner waits for it, and the others for that one.
 * `started`: both go on beside a third that waits for them. */
static void run_fault(const ranks_suite *s, const struct fault *what, bool started, double timeout,
                      const char *message)
{
    int threads = count_threads();
    cts_case c = ranks_start(s, 0, "2x2");
    int64_t dims[] = {3};
    col_plan_view *view = ranks_rows(&c, "x", COL__PLAN__DTYPE__F32, 1, dims);
    for (uint32_t axis = 2; axis-- > 0;) {
        ranks_problem p = {
            .mesh = col_plan_mesh(c.maker.plan), .axis_count = 1, .axes = {axis}, .n = 2, .in_numel = 3};
        p.started = started;
        ranks_describe(&c, &p, view,
                       started ? ranks_rows(&c, axis ? "y" : "z", COL__PLAN__DTYPE__F32, 1, dims) : view);
    }
    for (uint32_t i = 0; i < 2 && started; i++) ranks_wait(&c, i);
    maker_program(&c.maker, "case");
    const col_plan *plan = maker_finish(&c.maker);
    c.type = &faulty_type;
    fault = what;
    col_ranks *ranks = ranks_open(s, &c, timeout);
    assert_fails(col_ranks_run(ranks, plan->programs[0], NULL), COL_DEVICE, message);
    assert_fails(col_ranks_run(ranks, plan->programs[0], NULL), COL_DEVICE, message); /* it stays failed */
    col_ranks_close(ranks);
    assert_int_equal(count_threads(), threads);
    cts_end(&c);
}

static void test_failing_rank(void **state)
{
    for (int started = 0; started < 2; started++)
        run_fault(*state, &(struct fault){2, false}, started, 60, "rank 2 failed: the device is on fire");
}

static void test_late_rank(void **state)
{
    for (int started = 0; started < 2; started++)
        run_fault(*state, &(struct fault){3, true}, started, 0.05,
                  "rank 3 did not come to the all-reduce 'h.0.sum'");
}

/* Sessions. */

static cts_case session_plan(const ranks_suite *s, const char *mesh, const char *layout, int64_t rows_here)
{
    cts_case c = mesh ? ranks_start(s, 0, mesh) : cts_start(s->type, 0, 1);
    int64_t dims[] = {rows_here, 5};
    maker_variable(&c.maker, COL__PLAN__VARIABLE_KIND__PARAM, "w", COL__PLAN__DTYPE__F32, 2, dims);
    col_plan_variable *v = c.maker.variables.data[0];
    v->dims = col_arena_copy(c.arena, ((int64_t[]){24, 5}), 2 * sizeof(int64_t));
    v->layout = maker_text(&c.maker, layout);
    v->init = COL__PLAN__INIT_KIND__NORMAL;
    v->init_b = 1;
    int64_t axes = (int64_t)c.maker.plan->n_mesh;
    if (mesh)
        maker_variable(&c.maker, COL__PLAN__VARIABLE_KIND__INPUT, COL_PLAN_COORDINATE, COL__PLAN__DTYPE__I32,
                       1, &axes);
    maker_program(&c.maker, "forward");
    maker_finish(&c.maker);
    return c;
}

/* Initial values do not depend on the mesh; the plan says how many ranks it is for. */
static void test_session(void **state)
{
    const ranks_suite *s = *state;
    cts_case one = session_plan(s, NULL, "", 24), many = session_plan(s, "2x3", "S10R", 4);
    char folder[] = "/tmp/col_test_XXXXXX";
    assert_non_null(mkdtemp(folder));
    const char *paths[] = {col_arena_printf(one.arena, "%s/one", folder),
                           col_arena_printf(one.arena, "%s/many", folder)};
    assert_ok(col_plan_write(one.maker.plan, paths[0]));
    assert_ok(col_plan_write(many.maker.plan, paths[1]));
    float values[2][24 * 5];
    for (int i = 0; i < 2; i++) {
        col_session *session = NULL;
        assert_ok(col_session_open(paths[i], &(col_session_options){.ranks = i ? 6 : 1}, &session));
        assert_ok(col_session_initialize(session, 7));
        assert_ok(col_session_read(session, "w", values[i], sizeof *values));
        int32_t at[2] = {7, 7};
        if (i) assert_ok(col_session_read(session, COL_PLAN_COORDINATE, at, sizeof at));
        if (i) assert_int_equal(at[0] | at[1], 0);
        col_session_close(session);
        assert_fails(col_session_open(paths[i], &(col_session_options){.ranks = 4}, &session), COL_BAD_INPUT,
                     i ? "--ranks 4, but the plan is for 6 ranks (mesh 2x3)"
                       : "--ranks 4, but the plan is for 1 rank (mesh 1)");
    }
    assert_memory_equal(values[0], values[1], sizeof *values);
    folder_remove_tree(folder);
    cts_end(&one);
    cts_end(&many);
}

/* A process for each GPU of one mesh: a rank that cannot open its own says why. */
static int test_processes(ranks_suite *s, const char *text)
{
    col_mesh mesh;
    col_ranks *ranks = NULL;
    if (!col_mesh_parse(text, &mesh)) return 2;
    s->meshes = (const char *const[]){text};
    s->mesh_count = 1;
    assert_ok(col_tcp_fork(&mesh, 60, &s->comm));
    cts_case c = session_plan(s, text, "", 24);
    col_ranks_options options = {
        .comm = s->comm, .sharing = s->comm->sharing, .device.place = s->comm->place};
    col_status status = col_ranks_open(c.maker.plan, s->type, &options, &ranks);
    if (status) fprintf(stderr, "skipped: %s\n", col_error_message(status));
    bool is_missing = col_error_ignore(status);
    col_ranks_close(ranks);
    cts_end(&c);
    const struct CMUnitTest tests[] = {
        {"collectives", test_collectives, NULL, NULL, s},
        {"streams", test_streams, NULL, NULL, s},
        {"variables", test_variables, NULL, NULL, s},
    };
    int failed = is_missing ? 77 : cmocka_run_group_tests(tests, NULL, NULL);
    s->comm->type->close(s->comm);
    return failed;
}

/* Plans that the verifier must refuse. */
static void test_refused(void **state)
{
    static const char *const layouts[] = {"S2R", "S0", "RS0", "R+P0", "S00R", "X"};
    for (size_t i = 0; i < COL_COUNT(layouts); i++) {
        cts_case c = session_plan(*state, "2x3", layouts[i], 24);
        assert_fails(col_plan_verify(c.maker.plan), COL_BAD_INPUT, "variable 'w': has a");
        cts_end(&c);
    }
    for (int fault_number = 0; fault_number < 7; fault_number++) {
        cts_case c = ranks_start(*state, fault_number, "2x2");
        ranks_problem p = ranks_choose(&c, COL__PLAN__COLLECTIVE_KIND__ALL_TO_ALL);
        p.started = false;
        col_plan_view *from = ranks_rows(&c, "x", p.dtype, p.rank, p.in_dims);
        col_plan_view *to = ranks_rows(&c, "y", p.dtype, p.rank, p.out_dims);
        ranks_describe(&c, &p, from, to);
        Col__Plan__Collective *how = c.maker.instructions.data[0]->collective;
        switch (fault_number) {
        case 0: break;
        case 1: how->axes[0] = 2; break;
        case 2:
            how->n_axes = 2;
            how->axes[1] = how->axes[0];
            break;
        case 3: how->bytes++; break;
        case 4: how->from_dim = how->dim; break;
        case 5: to->offset = from->offset; break;
        default: how->n_axes = 0; break;
        }
        maker_program(&c.maker, "case");
        maker_finish(&c.maker);
        if (fault_number)
            assert_fails(col_plan_verify(c.maker.plan), COL_BAD_INPUT, "do not fit its kind");
        else
            assert_ok(col_plan_verify(c.maker.plan));
        cts_end(&c);
    }
}

#endif

int main(int argc, char **argv)
{
    static const char *const meshes[] = {"2", "4", "2x2", "2x2x2", "3", "1x4", "3x2", "8"};
    ranks_suite s = {.cases = 10, .meshes = meshes, .mesh_count = COL_COUNT(meshes)};
    if (col_error_ignore(col_device_type_find(argc > 1 ? argv[1] : "", &s.type))) s.type = NULL;
    if (argc > 2) s.cases = atoi(argv[2]);
    if (!s.type) {
        fprintf(stderr, "this build has no device '%s'\n", argc > 1 ? argv[1] : "");
        return 77;
    }
#define TEST(name) {#name, test_##name, NULL, NULL, &s}
#ifdef COL_TEST_MPI
    col_mesh mesh;
    if (argc < 4 || !col_mesh_parse(argv[3], &mesh)) return 2;
    s.meshes = (const char *const[]){argv[3]};
    s.mesh_count = 1;
    assert_ok(col_mpi_open(&mesh, 0, 60, &s.comm));
    const struct CMUnitTest tests[] = {TEST(collectives), TEST(streams), TEST(variables)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    s.comm->type->close(s.comm);
    return failed;
#else
    if (argc > 3) return test_processes(&s, argv[3]);
    const struct CMUnitTest tests[] = {TEST(collectives), TEST(streams),      TEST(nan),
                                       TEST(variables),   TEST(failing_rank), TEST(late_rank),
                                       TEST(session),     TEST(refused),      TEST(refused_starts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
#endif
}
