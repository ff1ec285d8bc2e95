/* The thread team that every kernel runs on: OpenMP's, the one that PyTorch uses too.

A kernel is a C function of its arrays and a run of tasks, `void kernel(void *, ..., int32_t first,
int32_t last)`; its tasks are independent of each other.  A kernel that works in scratch memory takes
it as its last array: each thread has its own, which it keeps for later calls. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#endif

enum { LEADING_ARGUMENTS = 4, MOST_ARRAYS = 24, STRIP = 16, LINE = 64 };
enum { MOST_THREADS = 1024 }; /* OpenMP keeps a little of each on the stack of who calls. */
enum { PARTS = 8, OWN_PARTS = 6, SHARED_PARTS = PARTS - OWN_PARTS };

typedef struct {
  void *code;
  Py_ssize_t count;
  void *data[MOST_ARRAYS];
  size_t scratch_bytes;
} Call;

/* OpenMP's threads do not survive a fork, and waiting for them would never end. */
static int in_forked_child = 0;

static void note_fork(void) { in_forked_child = 1; }

typedef struct {
  size_t bytes;
  char pad[LINE - sizeof(size_t)];
  char memory[];
} Scratch;

static pthread_key_t scratch_key;

/* Return this thread's scratch memory, at least so many bytes; NULL where there is none left. */
static void *scratch_of_thread(size_t bytes) {
  Scratch *scratch = pthread_getspecific(scratch_key);
  if (scratch && scratch->bytes >= bytes) return scratch->memory;
  free(scratch);
  bytes = (bytes + LINE - 1) / LINE * LINE;
  scratch = aligned_alloc(LINE, sizeof(Scratch) + bytes);
  pthread_setspecific(scratch_key, scratch);
  if (!scratch) return NULL;
  scratch->bytes = bytes;
  return scratch->memory;
}

#define TYPES_1 void *
#define TYPES_2 TYPES_1, void *
#define TYPES_3 TYPES_2, void *
#define TYPES_4 TYPES_3, void *
#define TYPES_5 TYPES_4, void *
#define TYPES_6 TYPES_5, void *
#define TYPES_7 TYPES_6, void *
#define TYPES_8 TYPES_7, void *
#define TYPES_9 TYPES_8, void *
#define TYPES_10 TYPES_9, void *
#define TYPES_11 TYPES_10, void *
#define TYPES_12 TYPES_11, void *
#define TYPES_13 TYPES_12, void *
#define TYPES_14 TYPES_13, void *
#define TYPES_15 TYPES_14, void *
#define TYPES_16 TYPES_15, void *
#define TYPES_17 TYPES_16, void *
#define TYPES_18 TYPES_17, void *
#define TYPES_19 TYPES_18, void *
#define TYPES_20 TYPES_19, void *
#define TYPES_21 TYPES_20, void *
#define TYPES_22 TYPES_21, void *
#define TYPES_23 TYPES_22, void *
#define TYPES_24 TYPES_23, void *
#define DATA_1 p[0]
#define DATA_2 DATA_1, p[1]
#define DATA_3 DATA_2, p[2]
#define DATA_4 DATA_3, p[3]
#define DATA_5 DATA_4, p[4]
#define DATA_6 DATA_5, p[5]
#define DATA_7 DATA_6, p[6]
#define DATA_8 DATA_7, p[7]
#define DATA_9 DATA_8, p[8]
#define DATA_10 DATA_9, p[9]
#define DATA_11 DATA_10, p[10]
#define DATA_12 DATA_11, p[11]
#define DATA_13 DATA_12, p[12]
#define DATA_14 DATA_13, p[13]
#define DATA_15 DATA_14, p[14]
#define DATA_16 DATA_15, p[15]
#define DATA_17 DATA_16, p[16]
#define DATA_18 DATA_17, p[17]
#define DATA_19 DATA_18, p[18]
#define DATA_20 DATA_19, p[19]
#define DATA_21 DATA_20, p[20]
#define DATA_22 DATA_21, p[21]
#define DATA_23 DATA_22, p[22]
#define DATA_24 DATA_23, p[23]
#define CALL_WITH(N)                                                                   \
  case N:                                                                              \
    ((void (*)(TYPES_##N, int32_t, int32_t))call->code)(DATA_##N, first, last);        \
    break;

/* Run the tasks from first up to last; -1 where there is no memory for them. */
static int run_some(const Call *call, int32_t first, int32_t last) {
  void *p[MOST_ARRAYS];
  Py_ssize_t count = call->count;
  memcpy(p, call->data, sizeof p);
  if (call->scratch_bytes && !(p[count++] = scratch_of_thread(call->scratch_bytes))) return -1;
  switch (count) {
    CALL_WITH(1)
    CALL_WITH(2)
    CALL_WITH(3)
    CALL_WITH(4)
    CALL_WITH(5)
    CALL_WITH(6)
    CALL_WITH(7)
    CALL_WITH(8)
    CALL_WITH(9)
    CALL_WITH(10)
    CALL_WITH(11)
    CALL_WITH(12)
    CALL_WITH(13)
    CALL_WITH(14)
    CALL_WITH(15)
    CALL_WITH(16)
    CALL_WITH(17)
    CALL_WITH(18)
    CALL_WITH(19)
    CALL_WITH(20)
    CALL_WITH(21)
    CALL_WITH(22)
    CALL_WITH(23)
    CALL_WITH(24)
  }
  return 0;
}

static int team_size(void) {
#ifdef _OPENMP
  return in_forked_child ? 1 : omp_get_max_threads();
#else
  return 1;
#endif
}

/* Run some of the parts that a member's run of neighbouring tasks consists of. */
static int run_parts(const Call *call, int64_t tasks, int64_t team, int64_t member, int from,
                     int to) {
  int64_t first = tasks * member / team, count = tasks * (member + 1) / team - first;
  int64_t begin = first + count * from / PARTS, end = first + count * to / PARTS;
  return begin < end ? run_some(call, (int32_t)begin, (int32_t)end) : 0;
}

/* Run all tasks; -1 where there is no memory for them.  Each thread begins with most of a run of its
own; what remains of all runs is for who comes first, because cores are seldom equally fast. */
static int run_tasks(const Call *call, int32_t tasks, int threads) {
  if (threads > tasks) threads = tasks;
  if (threads > MOST_THREADS) threads = MOST_THREADS;
#ifdef _OPENMP
  if (threads > 1 && !in_forked_child) {
    int failed = 0, shared = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
      int team = omp_get_num_threads(), taken;
      failed = run_parts(call, tasks, team, omp_get_thread_num(), 0, OWN_PARTS);
      for (;;) {
#pragma omp atomic capture
        taken = shared++;
        if (taken >= team * SHARED_PARTS) break;
        int part = OWN_PARTS + taken / team;
        failed |= run_parts(call, tasks, team, taken % team, part, part + 1);
      }
    }
    return failed ? -1 : 0;
  }
#endif
  return run_some(call, 0, tasks);
}

/* What NumPy's arrays have as __array_struct__, in a capsule; declared as its manual has it. */
typedef struct {
  int two, dimensions;
  char kind;
  int itemsize, flags;
  Py_ssize_t *shape, *strides;
  void *data;
  PyObject *description;
} ArrayInterface;

enum { C_CONTIGUOUS = 0x1, WRITEABLE = 0x400 };

/* Look at the memory of an array.  NumPy's have no buffer where their type is not one of its own,
such as bfloat16; these are looked at through what it offers instead, and live as long as the call
that they are given to. */
static int get_memory(PyObject *array, int writable, Py_buffer *view) {
  if (PyObject_GetBuffer(array, view, writable ? PyBUF_WRITABLE : PyBUF_SIMPLE) == 0) return 0;
  if (!PyErr_ExceptionMatches(PyExc_ValueError)) return -1;
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value, &trace);
  PyObject *capsule = PyObject_GetAttrString(array, "__array_struct__");
  const ArrayInterface *found = capsule ? PyCapsule_GetPointer(capsule, NULL) : NULL;
  int flags = C_CONTIGUOUS | (writable ? WRITEABLE : 0);
  if (!found || found->two != 2 || (found->flags & flags) != flags) {
    Py_XDECREF(capsule);
    PyErr_Restore(type, value, trace);
    return -1;
  }
  view->obj = NULL;
  view->buf = found->data;
  view->len = found->itemsize;
  for (int i = 0; i < found->dimensions; i++) view->len *= found->shape[i];
  Py_DECREF(capsule);
  Py_XDECREF(type);
  Py_XDECREF(value);
  Py_XDECREF(trace);
  return 0;
}

/* Store the address of an array given as an object with a buffer, or as a number. */
static int find_data(PyObject *array, void **data, Py_buffer *view) {
  if (PyLong_Check(array)) {
    view->obj = NULL;
    *data = PyLong_AsVoidPtr(array);
    return PyErr_Occurred() ? -1 : 0;
  }
  if (get_memory(array, 0, view) < 0) return -1;
  *data = view->buf;
  return 0;
}

PyDoc_STRVAR(run_doc,
             "run(code, tasks, threads, scratch_bytes, *arrays)\n--\n\n"
             "Run every task of a kernel on so many threads; 0 is the size of the team.\n\n"
             "Arrays are C-contiguous buffers or addresses; neither sizes nor types are checked.\n"
             "Where scratch_bytes is not 0, each thread's scratch memory follows them.");

static PyObject *run(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
  (void)self;
  Call call = {.count = nargs - LEADING_ARGUMENTS};
  if (call.count < 1 || call.count >= MOST_ARRAYS)
    return PyErr_Format(PyExc_TypeError, "a kernel has 1 to %d arrays; got %zd", MOST_ARRAYS - 1,
                        call.count);
  call.code = PyLong_AsVoidPtr(args[0]);
  long tasks = PyLong_AsLong(args[1]), threads = PyLong_AsLong(args[2]);
  call.scratch_bytes = PyLong_AsSize_t(args[3]);
  if (PyErr_Occurred()) return NULL;
  if (!call.code || tasks < 0 || tasks > INT32_MAX || threads < 0 || threads > INT32_MAX)
    return PyErr_Format(PyExc_ValueError, "no kernel, or tasks or threads out of range");
  Py_buffer views[MOST_ARRAYS];
  Py_ssize_t held = 0;
  int failed = 0;
  while (held < call.count &&
         find_data(args[LEADING_ARGUMENTS + held], &call.data[held], &views[held]) == 0)
    held++;
  if (held == call.count) {
    Py_BEGIN_ALLOW_THREADS
    failed = run_tasks(&call, (int32_t)tasks, threads ? (int)threads : team_size());
    Py_END_ALLOW_THREADS
  }
  for (Py_ssize_t i = 0; i < held; i++)
    if (views[i].obj) PyBuffer_Release(&views[i]);
  if (held < call.count) return NULL;
  if (failed)
    return PyErr_Format(PyExc_MemoryError, "no memory for %zu bytes of scratch a thread",
                        call.scratch_bytes);
  Py_RETURN_NONE;
}

#define TRANSPOSE(TYPE)                                                              \
  for (Py_ssize_t first = 0; first < rows; first += STRIP) {                         \
    Py_ssize_t end = first + STRIP < rows ? first + STRIP : rows;                    \
    for (Py_ssize_t c = 0; c < columns; c++)                                         \
      for (Py_ssize_t r = first; r < end; r++)                                       \
        ((TYPE *)to)[c * rows + r] = ((const TYPE *)from)[r * columns + c];          \
  }

PyDoc_STRVAR(transpose_doc,
             "transpose(source, destination, rows, columns)\n--\n\n"
             "Write a (rows, columns) matrix of 2-, 4- or 8-byte elements as (columns, rows).\n\n"
             "Both are C-contiguous buffers or addresses, the destination a buffer.");

static PyObject *transpose(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
  (void)self;
  if (nargs != 4) return PyErr_Format(PyExc_TypeError, "transpose takes 4 arguments");
  Py_ssize_t rows = PyLong_AsSsize_t(args[2]), columns = PyLong_AsSsize_t(args[3]);
  if (PyErr_Occurred()) return NULL;
  Py_buffer source, destination;
  void *from;
  if (get_memory(args[1], 1, &destination) < 0) return NULL;
  if (find_data(args[0], &from, &source) < 0) {
    PyBuffer_Release(&destination);
    return NULL;
  }
  void *to = destination.buf;
  if (rows < 1 || columns < 1 || destination.len % (rows * columns)) {
    PyErr_Format(PyExc_ValueError, "the destination is a %zd x %zd matrix", columns, rows);
  } else if (destination.len / (rows * columns) == sizeof(uint16_t)) {
    TRANSPOSE(uint16_t)
  } else if (destination.len / (rows * columns) == sizeof(uint32_t)) {
    TRANSPOSE(uint32_t)
  } else if (destination.len / (rows * columns) == sizeof(uint64_t)) {
    TRANSPOSE(uint64_t)
  } else {
    PyErr_Format(PyExc_ValueError, "elements have 2, 4 or 8 bytes");
  }
  PyBuffer_Release(&destination);
  if (source.obj) PyBuffer_Release(&source);
  if (PyErr_Occurred()) return NULL;
  Py_RETURN_NONE;
}

PyDoc_STRVAR(same_doc,
             "same(array, kept)\n--\n\n"
             "Whether an array holds the bytes of a kept one, which is as large.\n\n"
             "The first is a C-contiguous buffer or an address, the other a buffer.");

static PyObject *same(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
  (void)self;
  if (nargs != 2) return PyErr_Format(PyExc_TypeError, "same takes 2 arguments");
  Py_buffer given, kept;
  void *data;
  int differ;
  if (get_memory(args[1], 0, &kept) < 0) return NULL;
  if (find_data(args[0], &data, &given) < 0) {
    PyBuffer_Release(&kept);
    return NULL;
  }
  Py_BEGIN_ALLOW_THREADS
  differ = memcmp(data, kept.buf, (size_t)kept.len);
  Py_END_ALLOW_THREADS
  PyBuffer_Release(&kept);
  if (given.obj) PyBuffer_Release(&given);
  return PyBool_FromLong(!differ);
}

/* Tensors are looked at through DLPack's C exchange API, version 1, which calls nothing of Python's.
These are its declarations, as in dlpack.h. */
typedef struct { int32_t type, id; } Device;
typedef struct { uint8_t code, bits; uint16_t lanes; } Element;
typedef struct {
  void *data;
  Device device;
  int32_t ndim;
  Element element;
  int64_t *shape, *strides;
  uint64_t byte_offset;
} DLTensor;
typedef struct ApiHeader {
  struct { uint32_t major, minor; } version;
  struct ApiHeader *previous;
} ApiHeader;
typedef struct {
  ApiHeader header;
  void *allocate, *export, *import;
  int (*look)(void *tensor, DLTensor *found);
  void *stream;
} Api;
enum { API_MAJOR = 1, ON_CPU = 1, MOST_AXES = 8 };

static PyObject *api_name, *negated_name, *storage_name, *offset_name, *address_name;

/* Find the API of torch's tensors, given one; NULL with an error where there is none. */
static const Api *api_of(PyObject *tensor) {
  static const Api *known = NULL;
  if (known) return known;
  PyObject *capsule = PyObject_GetAttr((PyObject *)Py_TYPE(tensor), api_name);
  if (!capsule) return NULL;
  ApiHeader *header = PyCapsule_GetPointer(capsule, "dlpack_exchange_api");
  Py_DECREF(capsule);
  if (PyErr_Occurred()) return NULL;
  while (header && header->version.major != API_MAJOR) header = header->previous;
  if (header && ((Api *)header)->look) return known = (Api *)header;
  PyErr_Format(PyExc_TypeError, "torch's tensors have DLPack's exchange API, version %d", API_MAJOR);
  return NULL;
}

PyDoc_STRVAR(lies_doc,
             "lies(tensor)\n--\n\n"
             "Return all that a kernel depends on of one of torch's tensors but its values.\n\n"
             "That is its element type, shape and strides.  TypeError where it lies in no memory of\n"
             "the CPU, or is negated.");

static PyObject *lies(PyObject *self, PyObject *tensor) {
  (void)self;
  DLTensor found;
  const Api *api = api_of(tensor);
  if (!api) return NULL;
  if (api->look(tensor, &found) || !found.data) {
    PyErr_Clear();
    return PyErr_Format(PyExc_TypeError, "the tensor has no memory");
  }
  if (found.device.type != ON_CPU || found.ndim > MOST_AXES)
    return PyErr_Format(PyExc_TypeError, "the tensor is not one of the CPU's, or has many axes");
  PyObject *negated = PyObject_CallMethodNoArgs(tensor, negated_name);
  if (!negated) return NULL;
  Py_DECREF(negated);
  if (negated != Py_False) return PyErr_Format(PyExc_TypeError, "the tensor is negated");
  size_t axes = (size_t)found.ndim, start = sizeof found.element, each = axes * sizeof(int64_t);
  char key[sizeof found.element + 2 * MOST_AXES * sizeof(int64_t)];
  memcpy(key, &found.element, start);
  memcpy(key + start, found.shape, each);
  memcpy(key + start + each, found.strides, each);
  return PyBytes_FromStringAndSize(key, (Py_ssize_t)(start + 2 * each));
}

/* Return whether a tensor's storage holds `reach` bytes from its first element on; -1 on errors. */
static int holds(PyObject *tensor, Py_ssize_t reach, Py_ssize_t size) {
  PyObject *storage = PyObject_CallMethodNoArgs(tensor, storage_name);
  if (!storage) return -1;
  Py_ssize_t held = PyObject_Size(storage);
  Py_DECREF(storage);
  PyObject *number = held < 0 ? NULL : PyObject_CallMethodNoArgs(tensor, offset_name);
  if (!number) return -1;
  Py_ssize_t offset = PyLong_AsSsize_t(number);
  Py_DECREF(number);
  if (offset < 0) return -1;
  return !reach || held - reach >= offset * size;
}

PyDoc_STRVAR(addresses_doc,
             "addresses(refuse, reaches, size, tensors)\n--\n\n"
             "Return the addresses of torch's tensors, whose elements have so many bytes.\n\n"
             "`reaches` is a tuple: the bytes from each one's first element to the end of its last.\n"
             "Where a storage, which may be freed, does not hold these, `refuse(tensors)` raises.");

static PyObject *addresses(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
  (void)self;
  if (nargs != 4 || !PyTuple_Check(args[1]))
    return PyErr_Format(PyExc_TypeError, "addresses takes a function, a tuple, a number, tensors");
  Py_ssize_t size = PyLong_AsSsize_t(args[2]);
  PyObject *tensors = PySequence_Fast(args[3], "tensors are a sequence"), *found = NULL;
  if (!tensors || PyErr_Occurred()) goto done;
  Py_ssize_t count = PySequence_Fast_GET_SIZE(tensors);
  if (count != PyTuple_GET_SIZE(args[1])) {
    PyErr_Format(PyExc_TypeError, "tensors and reaches are as many");
    goto done;
  }
  found = PyList_New(count);
  for (Py_ssize_t i = 0; found && i < count; i++) {
    PyObject *tensor = PySequence_Fast_GET_ITEM(tensors, i), *address = NULL;
    Py_ssize_t reach = PyLong_AsSsize_t(PyTuple_GET_ITEM(args[1], i));
    int held = PyErr_Occurred() ? -1 : holds(tensor, reach, size);
    if (held > 0) address = PyObject_CallMethodNoArgs(tensor, address_name);
    if (address) {
      PyList_SET_ITEM(found, i, address);
      continue;
    }
    Py_CLEAR(found);
    if (held) break;
    Py_XDECREF(PyObject_CallOneArg(args[0], args[3]));
    if (!PyErr_Occurred()) PyErr_Format(PyExc_ValueError, "storage %zd is too small", i);
  }
done:
  Py_XDECREF(tensors);
  return found;
}

PyDoc_STRVAR(size_doc, "size()\n--\n\nReturn how many threads a call uses unless told otherwise.");

static PyObject *size(PyObject *self, PyObject *unused) {
  (void)self, (void)unused;
  return PyLong_FromLong(team_size());
}

PyDoc_STRVAR(forked_doc,
             "forked()\n--\n\nWhether this process was forked from one that had loaded this.");

static PyObject *forked(PyObject *self, PyObject *unused) {
  (void)self, (void)unused;
  return PyBool_FromLong(in_forked_child);
}

PyDoc_STRVAR(runtime_doc,
             "runtime()\n--\n\nReturn the file of the OpenMP runtime, None where there is none.");

static PyObject *runtime(PyObject *self, PyObject *unused) {
  (void)self, (void)unused;
#ifdef _OPENMP
  Dl_info info;
  if (dladdr((void *)omp_get_max_threads, &info) && info.dli_fname)
    return PyUnicode_DecodeFSDefault(info.dli_fname);
#endif
  Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"run", (PyCFunction)(void (*)(void))run, METH_FASTCALL, run_doc},
    {"transpose", (PyCFunction)(void (*)(void))transpose, METH_FASTCALL, transpose_doc},
    {"same", (PyCFunction)(void (*)(void))same, METH_FASTCALL, same_doc},
    {"lies", lies, METH_O, lies_doc},
    {"addresses", (PyCFunction)(void (*)(void))addresses, METH_FASTCALL, addresses_doc},
    {"size", size, METH_NOARGS, size_doc},
    {"forked", forked, METH_NOARGS, forked_doc},
    {"runtime", runtime, METH_NOARGS, runtime_doc},
    {NULL, NULL, 0, NULL},
};

static int prepare(PyObject *module) {
  (void)module;
  api_name = PyUnicode_InternFromString("__dlpack_c_exchange_api__");
  negated_name = PyUnicode_InternFromString("is_neg");
  storage_name = PyUnicode_InternFromString("untyped_storage");
  offset_name = PyUnicode_InternFromString("storage_offset");
  address_name = PyUnicode_InternFromString("data_ptr");
  if (!api_name || !negated_name || !storage_name || !offset_name || !address_name) return -1;
  if (pthread_key_create(&scratch_key, free)) return -1;
  return pthread_atfork(NULL, NULL, note_fork) ? -1 : 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)prepare}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "depthwise._team",
    .m_doc = "The OpenMP team that kernels run on.", .m_methods = methods, .m_slots = slots,
};

PyMODINIT_FUNC PyInit__team(void) { return PyModuleDef_Init(&definition); }
