/* The compiled form of kgw_core.records.walk: it finds sound what walk_python there finds sound, and no more.

   It says only whether all is well; what is not, walk_python then finds. It keeps to Python's limited API of
   3.11, so that one binary serves every later Python. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "_walk.h"

#define MANY 100000 /* records, from which on other threads may run meanwhile; about a millisecond */

static PyObject *walk(PyObject *module, PyObject *const *args, Py_ssize_t given)
{
    Py_buffer view;
    Py_ssize_t at;
    int64_t count;
    int frame, sound;
    Found found = {0, INT64_MAX, INT64_MIN};

    (void)module;
    if (given < 3 || given > 4) {
        PyErr_SetString(PyExc_TypeError, "walk(data, at, count, frame=False)");
        return NULL;
    }
    at = PyLong_AsSsize_t(args[1]);
    if (at == -1 && PyErr_Occurred())
        return NULL;
    count = PyLong_AsLongLong(args[2]);
    if (count == -1 && PyErr_Occurred())
        return NULL;
    frame = given == 4 ? PyObject_IsTrue(args[3]) : 0;
    if (frame < 0 || PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE) < 0)
        return NULL;
    if (at < 0 || at > view.len || count < 1)
        sound = 0;
    else if (count < MANY)
        sound = walk_records((Place)view.buf + at, (Place)view.buf + view.len, count, frame, &found);
    else {
        Py_BEGIN_ALLOW_THREADS
        sound = walk_records((Place)view.buf + at, (Place)view.buf + view.len, count, frame, &found);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&view);
    if (!sound)
        Py_RETURN_NONE;
    if (frame)
        found.lowest = found.highest = 0;
    return Py_BuildValue("(iLL)", found.flags, (long long)found.lowest, (long long)found.highest);
}

static PyMethodDef methods[] = {
    {"walk", (PyCFunction)(void (*)(void))walk, METH_FASTCALL,
     "walk(data, at, count, frame=False): as kgw_core.records.walk.walk_python, None for a fault."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_walk", NULL, 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__walk(void)
{
    return PyModuleDef_Init(&definition);
}
