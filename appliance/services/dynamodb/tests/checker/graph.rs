//! The graph of events, and the search for a cycle.
//! Invariant: nodes below `event_count` are events in the order given; the others are moments of real time, in order.
//!
//! Real time costs two edges an event: each end leads to its moment, moments lead to the next one, and the last moment
//! before a begin leads to that event. So a path from one event to another exists exactly if the first ended before the
//! second began.

use std::collections::VecDeque;

use super::Event;

pub struct Graph {
    event_count: usize,
    edges: Vec<Vec<(usize, &'static str)>>,
}

impl Graph {
    pub fn new(event_count: usize) -> Graph {
        Graph { event_count, edges: vec![Vec::new(); event_count] }
    }

    /// `from` comes before `to`. What an event does to its own versions is no order.
    pub fn edge(&mut self, from: usize, to: usize, why: &'static str) {
        if from != to {
            self.edges[from].push((to, why));
        }
    }

    pub fn edge_count(&self) -> usize {
        self.edges.iter().map(Vec::len).sum()
    }

    /// Adds the moments.
    pub fn real_time(&mut self, events: &[&Event]) {
        let mut ends: Vec<(u64, usize)> =
            events.iter().enumerate().filter_map(|(place, event)| Some((event.end?, place))).collect();
        ends.sort_unstable();
        let first = self.edges.len();
        for (order, (_, place)) in ends.iter().enumerate() {
            self.edges.push(Vec::new());
            self.edges[*place].push((first + order, "time"));
            if order > 0 {
                self.edges[first + order - 1].push((first + order, "time"));
            }
        }
        for (place, event) in events.iter().enumerate() {
            let before = ends.partition_point(|(end, _)| *end < event.begin);
            if before > 0 {
                self.edges[first + before - 1].push((place, "time"));
            }
        }
    }

    /// A shortest cycle through some event of the first component that has one: events with the edge that leaves each.
    pub fn cycle(&self) -> Option<Vec<(usize, &'static str)>> {
        let components = self.components();
        let mut sizes = vec![0_usize; self.edges.len()];
        components.iter().for_each(|component| sizes[*component] += 1);
        let start = (0..self.event_count).find(|node| sizes[components[*node]] > 1)?;
        // Breadth first within the component, back to the start.
        let mut came: Vec<Option<(usize, &'static str)>> = vec![None; self.edges.len()];
        let mut waiting = VecDeque::from([start]);
        while let Some(node) = waiting.pop_front() {
            for (next, why) in &self.edges[node] {
                if *next == start {
                    return Some(self.path(&came, start, node, why));
                }
                if components[*next] == components[start] && came[*next].is_none() {
                    came[*next] = Some((node, why));
                    waiting.push_back(*next);
                }
            }
        }
        unreachable!("a component of several nodes leads back to each of them")
    }

    fn path(
        &self,
        came: &[Option<(usize, &'static str)>],
        start: usize,
        last: usize,
        why: &'static str,
    ) -> Vec<(usize, &'static str)> {
        let mut path = vec![(last, why)];
        let mut node = last;
        while node != start {
            let (before, why) = came[node].expect("reached from the start");
            path.push((before, why));
            node = before;
        }
        path.reverse();
        path.retain(|(node, _)| *node < self.event_count);
        path
    }

    /// Strongly connected components by Tarjan's algorithm, without recursion: the component of each node.
    fn components(&self) -> Vec<usize> {
        const NONE: usize = usize::MAX;
        let count = self.edges.len();
        let (mut order, mut low, mut component) = (vec![NONE; count], vec![0; count], vec![NONE; count]);
        let (mut stack, mut next_order, mut next_component) = (Vec::new(), 0, 0);
        for root in 0..count {
            if order[root] != NONE {
                continue;
            }
            let mut calls = vec![(root, 0)];
            while let Some((node, edge)) = calls.pop() {
                if edge == 0 {
                    (order[node], low[node]) = (next_order, next_order);
                    next_order += 1;
                    stack.push(node);
                } else {
                    let (child, _) = self.edges[node][edge - 1];
                    low[node] = low[node].min(low[child]);
                }
                let mut edge = edge;
                let mut descends = None;
                while let Some((next, _)) = self.edges[node].get(edge) {
                    edge += 1;
                    if order[*next] == NONE {
                        descends = Some(*next);
                        break;
                    }
                    if component[*next] == NONE {
                        low[node] = low[node].min(order[*next]);
                    }
                }
                if let Some(next) = descends {
                    calls.push((node, edge));
                    calls.push((next, 0));
                    continue;
                }
                if low[node] == order[node] {
                    while let Some(member) = stack.pop() {
                        component[member] = next_component;
                        if member == node {
                            break;
                        }
                    }
                    next_component += 1;
                }
            }
        }
        component
    }
}
