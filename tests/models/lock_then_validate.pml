/* Installing a page against the scan of an unplug: validation counts only under the leaf's lock.
 *
 * The faulter found region and leaf without a lock. Unplug marks the region dying, unpublishes it, and
 * scans the leaf under the leaf's lock, after which it discards the host's pages and returns.
 *
 * Property: no page is installed into a region whose unplug has returned, and none is left at the host.
 *
 * Broken variants: VALIDATE_BEFORE_LOCK, NO_VALIDATE, SCAN_WITHOUT_LOCK, DISCARD_BEFORE_SCAN.
 */
mtype = { Live, Dying, Dead };

#define FAULTERS 2

mtype life = Live;
bool published = true;
bool leaf_owned = true;  /* leaf.owner is the region; the scan takes the table away */
bool locked;             /* the leaf's lock */
bool present;            /* the page, in the books */
bool host_page;          /* the page, at the host */
bool returned;           /* unplug returned */
byte done;

#define LOCK atomic { !locked -> locked = true }
#define UNLOCK locked = false
#define VALID (leaf_owned && life == Live)

proctype Faulter() {
  bool valid;
  do
  :: !published -> break  /* not RAM any more */
  :: else ->
#ifdef VALIDATE_BEFORE_LOCK
    valid = VALID;
    LOCK;
#else
    LOCK;
#ifdef NO_VALIDATE
    valid = true;
#else
    valid = VALID;
#endif
#endif
    if
    :: !valid -> UNLOCK  /* retry */
    :: valid && present -> UNLOCK; break
    :: valid && !present ->
      assert(!returned);
      host_page = true;
      present = true;
      UNLOCK;
      break
    fi
  od;
  done++
}

proctype Unplug() {
  life = Dying;
  published = false;
#ifdef DISCARD_BEFORE_SCAN
  host_page = false;
#endif
#ifndef SCAN_WITHOUT_LOCK
  LOCK;
#endif
  leaf_owned = false;
  present = false;
#ifndef SCAN_WITHOUT_LOCK
  UNLOCK;
#endif
#ifndef DISCARD_BEFORE_SCAN
  host_page = false;
#endif
  life = Dead;
  returned = true;
  done++
}

init {
  atomic { run Faulter(); run Faulter(); run Unplug() }
  done == FAULTERS + 1;
  assert(!host_page);
  assert(!present)
}
