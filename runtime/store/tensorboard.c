#include "runtime/store/tensorboard.h"
#include "ir/base/file.h"
#include "ir/base/str.h"
#include "runtime/store/event.pb-c.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <isa-l.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct col_tensorboard {
    char *path;
    int fd;
    off_t end; /* of the last whole record */
};

uint32_t col_masked_crc32c(const void *bytes, size_t size)
{
    COL_ASSERT(size <= INT_MAX);
    uint32_t crc = ~crc32_iscsi((unsigned char *)(uintptr_t)bytes, (int)size, ~0u);
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

static void put_little(unsigned char *out, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++) out[i] = (unsigned char)(value >> (8 * i));
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static col_status write_event(col_tensorboard *board, ColEvent__Event *event)
{
    event->wall_time = now();
    size_t size = col_event__event__get_packed_size(event), total = 12 + size + 4;
    unsigned char *record = malloc(total);
    if (!record) col_out_of_memory(0);
    put_little(record, size, 8);
    put_little(record + 8, col_masked_crc32c(record, 8), 4);
    col_event__event__pack(event, record + 12);
    put_little(record + 12 + size, col_masked_crc32c(record + 12, size), 4);
    ssize_t put;
    do {
        put = write(board->fd, record, total);
    } while (put < 0 && errno == EINTR);
    int saved = put < 0 ? errno : ENOSPC;
    free(record);
    if (put == (ssize_t)total) {
        board->end += put;
        return NULL;
    }
    if (put > 0 && ftruncate(board->fd, board->end)) saved = errno;
    return col_error_from_errno(saved, "cannot write '%s'", board->path);
}

/* Creates the first file of its name that is not there yet. */
static col_status create_file(col_tensorboard *board, const char *dir)
{
    char host[256] = "";
    if (gethostname(host, sizeof host - 1) || !*host) strcpy(host, "localhost");
    for (char *at = host; *at; at++) {
        if (*at == '/') *at = '_';
    }
    for (int n = 0; board->fd < 0; n++) {
        col_str path = {0};
        col_str_printf(&path, "%s/events.out.tfevents.%010lld.%s.%ld.%d", dir, (long long)time(NULL), host,
                       (long)getpid(), n);
        free(board->path);
        board->path = path.data;
        board->fd = open(board->path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
        if (board->fd < 0 && errno != EEXIST)
            return col_error_from_errno(errno, "cannot write '%s'", board->path);
    }
    return NULL;
}

static col_status start(col_tensorboard *board, const char *dir, int64_t resume_step)
{
    COL_TRY(col_make_folder(dir));
    COL_TRY(create_file(board, dir));
    char version_text[] = "brain.Event:2";
    ColEvent__Event version = COL_EVENT__EVENT__INIT;
    version.what_case = COL_EVENT__EVENT__WHAT_FILE_VERSION;
    version.file_version = version_text;
    COL_TRY(write_event(board, &version));
    ColEvent__SessionLog log = COL_EVENT__SESSION_LOG__INIT;
    log.status = COL_EVENT__SESSION_LOG__STATUS__START;
    ColEvent__Event restart = COL_EVENT__EVENT__INIT;
    restart.step = resume_step + 1;
    restart.what_case = COL_EVENT__EVENT__WHAT_SESSION_LOG;
    restart.session_log = &log;
    return write_event(board, &restart);
}

col_status col_tensorboard_open(const char *dir, int64_t resume_step, col_tensorboard **out_board)
{
    col_tensorboard *board = calloc(1, sizeof *board);
    if (!board) col_out_of_memory(0);
    board->fd = -1;
    col_status status = start(board, dir, resume_step);
    if (!status) {
        *out_board = board;
        return NULL;
    }
    col_tensorboard_close(board);
    return col_error_annotate(status, "no TensorBoard log can be kept in '%s' (give another --log-dir)", dir);
}

col_status col_tensorboard_write(col_tensorboard *board, int64_t step, const col_tag_value *values,
                                 size_t count)
{
    col_arena *arena = col_arena_create();
    ColEvent__Summary__Value *scalars = COL_NEW_ARRAY(arena, ColEvent__Summary__Value, count);
    ColEvent__Summary__Value **pointers = COL_NEW_ARRAY(arena, ColEvent__Summary__Value *, count);
    for (size_t i = 0; i < count; i++) {
        col_event__summary__value__init(&scalars[i]);
        scalars[i].tag = col_arena_strdup(arena, values[i].tag);
        scalars[i].value_case = COL_EVENT__SUMMARY__VALUE__VALUE_SIMPLE_VALUE;
        scalars[i].simple_value = (float)values[i].value;
        pointers[i] = &scalars[i];
    }
    ColEvent__Summary summary = COL_EVENT__SUMMARY__INIT;
    summary.n_value = count;
    summary.value = pointers;
    ColEvent__Event event = COL_EVENT__EVENT__INIT;
    event.step = step;
    event.what_case = COL_EVENT__EVENT__WHAT_SUMMARY;
    event.summary = &summary;
    col_status status = write_event(board, &event);
    col_arena_destroy(arena);
    return status;
}

void col_tensorboard_close(col_tensorboard *board)
{
    if (!board) return;
    if (board->fd >= 0) close(board->fd);
    free(board->path);
    free(board);
}
