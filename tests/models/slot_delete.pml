/* Deleting a memslot waits for every vCPU inside KVM's SRCU section, and a vCPU blocked in a userfault is
 * inside. So unplug must first make the range inaccessible, then wake whoever is blocked in it, and only
 * then delete the slot; and no fault handler may wait for anything that unplug holds, because the vCPU
 * that the deletion waits for may be blocked in another region altogether.
 *
 * vCPU 0 touches the region that is unplugged, vCPU 1 a bystander. The pool reads one message at a time.
 * A fault that sleeps is entered into the wait queue and re-checks the page in one step, as the kernel's
 * handle_userfault does, so a wake between is not lost.
 *
 * Property: everybody ends (no deadlock, and under weak fairness no livelock either), the vCPU of the dead
 * region with a no-slot exit or an access that was served before the revocation.
 *
 * Broken variants: SLOT_DELETED_BEFORE_REVOKE, NO_WAKE, WAKE_BEFORE_REVOKE, HANDLER_WAITS_FOR_UNPLUG,
 * VERSION_READ_AFTER_EFAULT.
 */
#define VCPUS 2
#define DYING_REGION 0

bool region_live[VCPUS] = true;   /* vCPU i touches region i */
bool slot_present[VCPUS] = true;
bool revoked[VCPUS];              /* the host range is inaccessible */
bool page_present[VCPUS];
bool asleep[VCPUS];               /* blocked in the userfault */
bool in_srcu[VCPUS];
byte srcu_exits[VCPUS];
bool served[VCPUS], no_slot[VCPUS];
byte slot_version;                /* bumped by each slot change; a vCPU with EFAULT waits for it */
bool control_locked;
chan messages = [VCPUS] of { byte };
bool unplug_done;
byte vcpus_done;

proctype Vcpu(byte me) {
  bool efault;
  byte version;
again:
  version = slot_version;  /* before the slot is looked at: a change in between ends the wait below */
  in_srcu[me] = true;
  efault = false;
  if
  :: !slot_present[me] -> no_slot[me] = true
  :: else ->
    do
    :: atomic { page_present[me] && !revoked[me] -> served[me] = true; break }
    :: atomic { revoked[me] -> efault = true; break }
    :: atomic { !page_present[me] && !revoked[me] -> asleep[me] = true; messages ! me };
      !asleep[me]  /* woken; look again */
    od
  fi;
  atomic { in_srcu[me] = false; srcu_exits[me]++ };
  if
  :: efault ->
#ifdef VERSION_READ_AFTER_EFAULT
    version = slot_version;
#endif
    version != slot_version;
    goto again
  :: else -> skip
  fi;
  vcpus_done++
}

active proctype Handler() {
  byte who;
end:
  do
  :: messages ? who ->
#ifdef HANDLER_WAITS_FOR_UNPLUG
    atomic { !control_locked -> control_locked = true };
#endif
    if
    :: region_live[who] ->
      /* The install itself; over a revoked page it fails and changes nothing. */
      atomic {
        if
        :: !revoked[who] -> page_present[who] = true
        :: else -> skip
        fi
      };
      asleep[who] = false
    :: else -> skip  /* the unplug releases the vCPU */
    fi;
#ifdef HANDLER_WAITS_FOR_UNPLUG
    control_locked = false;
#endif
    who = 0
  od
}

inline Revoke() { revoked[DYING_REGION] = true }
inline Wake() {
#ifndef NO_WAKE
  asleep[DYING_REGION] = false
#else
  skip
#endif
}
inline DeleteSlot() {
  slot_present[DYING_REGION] = false;
  /* synchronize_srcu: each section that is open now has to close. */
  atomic { exits0 = srcu_exits[0]; exits1 = srcu_exits[1] };
  !in_srcu[0] || srcu_exits[0] != exits0;
  !in_srcu[1] || srcu_exits[1] != exits1;
  slot_version++
}

active proctype Unplug() {
  byte exits0, exits1;
  atomic { !control_locked -> control_locked = true };
  region_live[DYING_REGION] = false;
#if defined(SLOT_DELETED_BEFORE_REVOKE)
  DeleteSlot();
  Revoke();
  Wake();
#elif defined(WAKE_BEFORE_REVOKE)
  Wake();
  Revoke();
  DeleteSlot();
#else
  Revoke();
  Wake();
  DeleteSlot();
#endif
  control_locked = false;
  unplug_done = true
}

init {
  atomic { run Vcpu(0); run Vcpu(1) }
  vcpus_done == VCPUS && unplug_done;
  assert(served[1]);
  assert(served[0] || no_slot[0])
}

ltl everybody_ends { <> (unplug_done && vcpus_done == VCPUS) }
