package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// What is to go wrong with a call, in the words of a rule's `mode`.
const (
	modeDrop   = "drop"              // the connection ends before the call is read
	mode503    = "503"               // a proxy's answer
	modeLogin  = "not-authenticated" // as after an idle session
	modeFault  = "fault"             // the typed fault that `fault` names
	modeDelay  = "latency"           // the call begins `seconds` late
	modeLost   = "applied-then-drop" // the call is carried out, its answer lost
	modeSlow   = "slow-task"         // the call's task begins its work `seconds` late
	modeDeltas = "deltas-stay"       // after the removal of a snapshot the disks need consolidation
	modeFailed = "failed-task"       // the call's task ends with the fault that `fault` names
)

var (
	atTheCall = []string{modeDrop, mode503, modeLogin, modeFault, modeDelay, modeLost}
	inTheTask = []string{modeSlow, modeFailed}
	allModes  = append(slices.Concat(atTheCall, inTheTask), modeDeltas)
	typeNamed = types.TypeFunc()
)

// One planned fault: the next `times` calls of `method`, which is its name in SOAP; * is any.
type rule struct {
	Method  string  `json:"method"`
	Mode    string  `json:"mode"`
	Times   int     `json:"times"`
	Seconds float64 `json:"seconds"`
	Fault   string  `json:"fault"`
}

func (one rule) check() error {
	if one.Method == "" || one.Times < 1 {
		return fmt.Errorf("method and times are needed: %+v", one)
	}
	if !slices.Contains(allModes, one.Mode) {
		return fmt.Errorf("mode %q is none of %s", one.Mode, strings.Join(allModes, ", "))
	}
	if one.Mode == modeFault || one.Mode == modeFailed {
		if _, err := faultNamed(one.Fault); err != nil {
			return err
		}
	}
	return nil
}

func (one rule) wait() {
	time.Sleep(time.Duration(one.Seconds * float64(time.Second)))
}

func faultNamed(name string) (types.BaseMethodFault, error) {
	kind, known := typeNamed(name)
	if known {
		if fault, ok := reflect.New(kind).Interface().(types.BaseMethodFault); ok {
			return fault, nil
		}
	}
	return nil, fmt.Errorf("vSphere has no fault %q", name)
}

// The faults to come, and the calls that came.
type plans struct {
	lock  sync.Mutex
	rules []rule
	calls map[string]int
}

func newPlans() *plans { return &plans{calls: map[string]int{}} }

func (all *plans) add(rules []rule) error {
	for _, one := range rules {
		if err := one.check(); err != nil {
			return err
		}
	}
	all.lock.Lock()
	defer all.lock.Unlock()
	all.rules = append(all.rules, rules...)
	return nil
}

func (all *plans) noFaults() {
	all.lock.Lock()
	defer all.lock.Unlock()
	all.rules = nil
}

func (all *plans) noCalls() {
	all.lock.Lock()
	defer all.lock.Unlock()
	all.calls = map[string]int{}
}

func (all *plans) count(method string) {
	all.lock.Lock()
	defer all.lock.Unlock()
	all.calls[method]++
}

func (all *plans) counted() map[string]int {
	all.lock.Lock()
	defer all.lock.Unlock()
	copied := map[string]int{}
	for method, times := range all.calls {
		copied[method] = times
	}
	return copied
}

// Takes the first rule for a method that has one of the modes.
func (all *plans) take(method string, modes []string) (rule, bool) {
	all.lock.Lock()
	defer all.lock.Unlock()
	for number := range all.rules {
		one := &all.rules[number]
		if one.Times > 0 && (one.Method == method || one.Method == "*") && slices.Contains(modes, one.Mode) {
			one.Times--
			return *one, true
		}
	}
	return rule{}, false
}
